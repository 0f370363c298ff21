package operator

import (
	"slices"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
)

// LookupIn finds in the catalogue, and in the failures that view keeps.
func LookupIn(view View, rows []*cause.Row) report.Lookup {
	return report.Lookup{
		Guide: GuideIn(rows),
		Summary: func(id string) string {
			if f, ok := view.Get(id); ok {
				return f.Summary
			}
			return ""
		},
	}
}

// GuideIn finds what the catalogue says of a cause to whoever is shown a failure of it.
func GuideIn(rows []*cause.Row) func(name string) report.Guide {
	return func(name string) report.Guide {
		i := slices.IndexFunc(rows, func(row *cause.Row) bool { return row.Name == name })
		if i < 0 {
			return report.Guide{}
		}
		row := rows[i]
		return report.Guide{
			Reasons:        row.UsualReasons,
			Caddy:          change(row.Fix.Caddy),
			Caddyfile:      row.Fix.Caddyfile,
			CaddyfileAlone: row.Fix.CaddyfileAlone,
			Docker:         change(row.Fix.Docker),
			Application:    change(row.Fix.Application),
		}
	}
}

// change is what can be changed at a place, "" for nothing.
func change(fix string) string {
	if !cause.Changes(fix) {
		return ""
	}
	return fix
}

package main

import (
	"bytes"
	_ "embed"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
)

//go:embed causes.md.tmpl
var causesTemplate string

// causesPage is the catalogue, row by row.
func causesPage() ([]byte, error) {
	page, err := template.New("causes.md").Funcs(template.FuncMap{
		"cell":      cell,
		"title":     title,
		"anchor":    anchor,
		"status":    status,
		"words":     words,
		"rival":     rival,
		"witnesses": func() []cause.WitnessWords { return cause.Witnesses },
		"provenBy":  provenBy,
		"indent":    func(text string) string { return strings.ReplaceAll(text, "\n", "\n  ") },
	}).Parse(causesTemplate)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = page.Execute(&b, slices.Collect(cause.Rows()))
	return b.Bytes(), err
}

// cell is a name in a table.
func cell(name string) string {
	if name == "" {
		return "–"
	}
	return "`" + name + "`"
}

// status is the one that the client gets.
func status(r *cause.Row) string {
	if r.Status == 0 {
		return "Caddy's"
	}
	return strconv.Itoa(r.Status)
}

// words are a row's, with what stands in for its placeholders.
func words(text string) string {
	return strings.NewReplacer("{upstream}", "*upstream*", "{address}", "*address*", "{limit}", "*limit*").Replace(text)
}

// provenBy names a row's witnesses.
func provenBy(r *cause.Row) string {
	if len(r.Witnesses) == 0 {
		return "no witness"
	}
	names := make([]string, 0, len(r.Witnesses))
	for _, w := range r.Witnesses {
		names = append(names, w.Words())
	}
	return strings.Join(names, "; ")
}

// rival is a link where the rival is a cause of the catalogue.
func rival(name string) string {
	if cause.ByName(name) == nil {
		return name
	}
	return "[`" + name + "`](#" + anchor(name) + ")"
}

// title is a cause's heading.
func title(name string) string { return report.CauseHeading(name, " ") }

// anchor is where a link finds it.
func anchor(name string) string { return report.CauseHeading(name, "-") }

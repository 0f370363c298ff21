package diagnostics

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// warningsOf are what our handlers warned of, each by the words that tell it from others.
func warningsOf(l *testcaddy.LogFile) (warnings []string) {
	for _, entry := range l.Entries("") {
		if entry["level"] != "warn" {
			continue
		}
		text, _ := entry["msg"].(string)
		kind := text
		for words, short := range map[string]string{
			"no reverse_proxy comes after":                   "nothing",
			"the reverse_proxy stands in front of":           "behind",
			"stands behind another one too":                  "twice",
			"with `page off` this module answers nobody":     "page off",
			"with `admin off` nothing listens":               "admin off",
			"upstream_dashboard answers every request":       "hidden",
			"the page replaces what handle_errors shows for": "handle_errors",
		} {
			if strings.Contains(text, words) {
				kind = short
			}
		}
		if site, ok := entry["site"].(string); ok {
			kind += " at " + site
		}
		if inVain, ok := entry["no_effect"].([]any); ok {
			for _, option := range inVain {
				kind += " " + option.(string)
			}
		}
		warnings = append(warnings, kind)
	}
	slices.Sort(warnings)
	return warnings
}

// Where the directive has nothing to hear, it is said once; where that can't be known,
// nothing is said.
func TestWarnsOfPlace(t *testing.T) {
	const ours = "upstream_diagnostics\n"
	tests := []struct {
		name string
		more string // in front of the site
		site string
		want []string
	}{
		{name: "a proxy behind it", site: ours + "reverse_proxy UP"},
		{name: "no proxy", site: ours + "respond ok", want: []string{"nothing at 127.0.0.1"}},
		{name: "a label of its own", site: "upstream_diagnostics {\nsite till\n}\nrespond ok", want: []string{"nothing at till"}},
		{name: "files", site: ours + "file_server", want: []string{"nothing at 127.0.0.1"}},
		{name: "php_fastcgi", site: ours + "php_fastcgi UP"},
		{name: "forward_auth", site: ours + "forward_auth UP {\nuri /\n}\nrespond ok"},
		{name: "in a handle", site: ours + "handle /a {\nreverse_proxy UP\n}\nhandle {\nrespond ok\n}"},
		{name: "in a handle of another matcher", site: "upstream_diagnostics /a\nreverse_proxy /b UP"},
		{name: "after the handle that it stands in", site: "handle /a {\n" + ours + "}\nreverse_proxy UP"},
		{name: "in a handle that excludes its own", site: "handle /a {\n" + ours + "}\nhandle {\nreverse_proxy UP\n}", want: []string{"nothing at 127.0.0.1"}},
		{name: "in a handle that excludes its own, before", site: "handle /a {\nreverse_proxy UP\n}\nhandle {\n" + ours + "}", want: []string{"nothing at 127.0.0.1"}},
		{name: "in nested handles", site: "handle /a* {\n" + ours + "handle /a/b {\nrespond ok\n}\nhandle {\nroute {\nreverse_proxy UP\n}\n}\n}"},

		{name: "in a route", site: "route {\n" + ours + "reverse_proxy UP\n}"},
		{name: "behind it in a route", site: "route {\nreverse_proxy UP\n" + ours + "}", want: []string{"behind at 127.0.0.1"}},
		{name: "behind some of them in a route", site: "route {\nreverse_proxy /a UP\n" + ours + "reverse_proxy UP\n}"},
		{name: "behind it in a route, and after that", site: "route {\nroute {\nreverse_proxy /a UP\n" + ours + "}\nhandle {\nreverse_proxy UP\n}\n}"},
		{name: "behind it in a route in a route", site: "route {\nreverse_proxy UP\nroute {\n" + ours + "}\n}", want: []string{"behind at 127.0.0.1"}},
		{name: "behind forward_auth", site: "route {\nforward_auth UP {\nuri /\n}\n" + ours + "respond ok\n}", want: []string{"behind at 127.0.0.1"}},

		{name: "an invoke behind it", more: "&(app) {\nreverse_proxy UP\n}\n", site: ours + "invoke app"},
		{name: "in a named route", more: "&(app) {\nroute {\n" + ours + "reverse_proxy UP\n}\n}\n", site: "invoke app"},
		{name: "alone in a named route", more: "&(app) {\nroute {\n" + ours + "}\n}\n", site: "route {\ninvoke app\nreverse_proxy UP\n}"},
		{name: "alone in a named route without a route", more: "&(app) {\n" + ours + "reverse_proxy UP\n}\n", site: "invoke app", want: []string{"nothing at srv0"}},
		{name: "alone in a named route behind a proxy", more: "&(app) {\n" + ours + "}\n", site: "route {\nreverse_proxy UP\ninvoke app\n}", want: []string{"behind at srv0"}},
		{name: "alone in a named route, a proxy after one of its invocations", more: "&(app) {\n" + ours + "}\n", site: "handle /a {\ninvoke app\n}\nhandle {\nroute {\ninvoke app\nreverse_proxy UP\n}\n}"},
		{name: "alone in a named route of another", more: "&(inner) {\n" + ours + "}\n&(app) {\nroute {\ninvoke inner\nreverse_proxy UP\n}\n}\n", site: "invoke app"},
		{name: "named routes that invoke each other", more: "&(a) {\nroute {\n" + ours + "invoke b\n}\n}\n&(b) {\nroute {\n" + ours + "invoke a\n}\n}\n", site: "invoke a"},
		{name: "in intercept of a named route that invokes itself", more: "&(a) {\nroute {\nintercept {\nhandle_response {\nroute {\n" + ours + "}\n}\n}\ninvoke /again a\n}\n}\n", site: "invoke a", want: []string{"nothing at srv0"}},
		{name: "from a snippet", more: "(ours) {\nupstream_diagnostics\n}\n", site: "import ours\nreverse_proxy UP"},
		{name: "from a snippet, for files", more: "(ours) {\nupstream_diagnostics\n}\n", site: "import ours\nfile_server", want: []string{"nothing at 127.0.0.1"}},
		{name: "a proxy from a snippet", more: "(app) {\nhandle {\nreverse_proxy UP\n}\n}\n", site: ours + "import app"},
		{name: "another plugin's handler behind it", site: "route {\n" + ours + "foreign UP\n}"},
		{name: "another plugin's handler in front", site: "route {\nforeign UP\n" + ours + "respond ok\n}", want: []string{"nothing at 127.0.0.1"}},

		{name: "in handle_errors", site: "reverse_proxy UP\nhandle_errors {\n" + ours + "reverse_proxy UP\n}", want: []string{"handle_errors"}},
		{name: "alone in handle_errors", site: "reverse_proxy UP\nhandle_errors {\n" + ours + "respond oh\n}", want: []string{"handle_errors", "nothing at 127.0.0.1"}},
		{name: "a proxy in handle_errors alone", site: "upstream_diagnostics {\npage off\n}\nrespond ok\nhandle_errors {\nreverse_proxy UP\n}", want: []string{"nothing at 127.0.0.1"}},
		{name: "in handle_response", site: "reverse_proxy UP {\nhandle_response {\nroute {\n" + ours + "reverse_proxy UP\n}\n}\n}"},
		{name: "alone in handle_response", site: "reverse_proxy UP {\nhandle_response {\nroute {\n" + ours + "respond ok\n}\n}\n}", want: []string{"behind at 127.0.0.1"}},
		{name: "a proxy in intercept", site: ours + "intercept {\nhandle_response {\nreverse_proxy UP\n}\n}\nrespond ok"},
		{name: "alone in intercept", site: "intercept {\nhandle_response {\nroute {\n" + ours + "}\n}\n}\nreverse_proxy UP", want: []string{"behind at 127.0.0.1"}},
		{name: "in intercept", site: "intercept {\nhandle_response {\nroute {\n" + ours + "reverse_proxy UP\n}\n}\n}\nrespond ok"},

		{name: "twice", site: "route {\n" + ours + ours + "reverse_proxy UP\n}", want: []string{"twice at 127.0.0.1"}},
		{name: "twice in a site", site: ours + "upstream_diagnostics {\nsite b\n}\nreverse_proxy UP", want: []string{"twice at 127.0.0.1"}},
		{name: "thrice", site: ours + ours + ours + "reverse_proxy UP", want: []string{"twice at 127.0.0.1", "twice at 127.0.0.1"}},
		{name: "twice, with something between", site: "route {\n" + ours + "header X-A b\nencode\n" + ours + "reverse_proxy UP\n}", want: []string{"twice at 127.0.0.1"}},
		{name: "twice, with a proxy between", site: "route {\n" + ours + "reverse_proxy /a UP\n" + ours + "reverse_proxy UP\n}"},
		{name: "twice, with forward_auth between", site: "route {\n" + ours + "forward_auth UP {\nuri /\n}\n" + ours + "reverse_proxy UP\n}"},
		{name: "twice, with another plugin's handler between", site: "route {\n" + ours + "foreign UP\n" + ours + "reverse_proxy UP\n}"},
		{name: "twice, with an invoke between", more: "&(app) {\nreverse_proxy UP\n}\n", site: "route {\n" + ours + "invoke app\n" + ours + "reverse_proxy UP\n}"},
		{name: "a special one, which the general one covers", site: "upstream_diagnostics /api/* {\nsite api\n}\n" + ours + "reverse_proxy UP", want: []string{"twice at api"}},
		{name: "special ones", site: "upstream_diagnostics /api/* {\nsite api\n}\nupstream_diagnostics /shop/* {\nsite shop\n}\nreverse_proxy UP"},
		{name: "a special one inside", site: ours + "handle /api/* {\n" + ours + "reverse_proxy UP\n}\nhandle {\nreverse_proxy UP\n}"},
		{name: "one in each handle inside", site: ours + "handle /api/* {\n" + ours + "reverse_proxy UP\n}\nhandle {\n" + ours + "reverse_proxy UP\n}", want: []string{"twice at 127.0.0.1"}},
		{name: "in the same handle as all", site: ours + "handle {\n" + ours + "reverse_proxy UP\n}", want: []string{"twice at 127.0.0.1"}},
		{name: "in a handle, and a proxy after it", site: ours + "handle /api/* {\n" + ours + "}\nreverse_proxy UP"},
		{name: "in two handles", site: "handle /a {\n" + ours + "reverse_proxy UP\n}\nhandle {\n" + ours + "reverse_proxy UP\n}"},
		{name: "in a handle without a proxy, and another", site: "handle /a {\nupstream_diagnostics {\nsite a\n}\n}\nhandle {\n" + ours + "reverse_proxy UP\n}", want: []string{"nothing at a"}},
		{name: "in the site and in handle_errors", site: ours + "reverse_proxy UP\nhandle_errors {\n" + ours + "reverse_proxy UP\n}", want: []string{"handle_errors"}},
		{name: "in the site and in a named route", more: "&(app) {\nroute {\n" + ours + "reverse_proxy UP\n}\n}\n", site: ours + "invoke app"},

		{name: "a dashboard in front of all", site: "upstream_dashboard\nreverse_proxy UP", want: []string{"hidden at 127.0.0.1"}},
		{name: "a dashboard between", site: ours + "upstream_dashboard {\nno_auth\n}\nreverse_proxy UP", want: []string{"hidden at 127.0.0.1"}},
		{name: "a dashboard in front of all of a handle", site: "handle /a* {\nroute {\nupstream_dashboard\nroute {\nreverse_proxy /a/b UP\n}\n}\n}", want: []string{"hidden at 127.0.0.1"}},
		{name: "a dashboard in a handle for all", site: "handle {\nupstream_dashboard\n}\nreverse_proxy UP", want: []string{"hidden at 127.0.0.1"}},
		{name: "a dashboard in a route, behind another", site: "route {\nheader X-A b\nupstream_dashboard\n}\nreverse_proxy UP", want: []string{"hidden at 127.0.0.1"}},
		{name: "a dashboard of the proxy's matcher", site: "upstream_dashboard /ops*\nreverse_proxy /ops* UP", want: []string{"hidden at 127.0.0.1"}},
		{name: "a dashboard in the last handle", site: "handle /a* {\nrewrite /b\n}\nhandle {\nupstream_dashboard\n}\nreverse_proxy UP"},
		{name: "a dashboard under a path", site: ours + "handle_path /ops* {\nupstream_dashboard\n}\nreverse_proxy UP"},
		{name: "a dashboard in a route of a path", site: ours + "route /ops* {\nuri strip_prefix /ops\nupstream_dashboard\n}\nreverse_proxy UP"},
		{name: "a dashboard of a matcher", site: ours + "upstream_dashboard /ops*\nreverse_proxy UP"},
		{name: "a dashboard alone", site: "upstream_dashboard\nrespond ok"},
		{name: "a dashboard behind all", site: "route {\n" + ours + "reverse_proxy UP\nupstream_dashboard\n}"},
		{name: "a dashboard in handle_errors", site: ours + "reverse_proxy UP\nhandle_errors {\nupstream_dashboard\n}", want: []string{"handle_errors"}},
		{name: "a dashboard in a site of its own", more: "http://a.example.com:PORT {\nupstream_dashboard\n}\n", site: ours + "reverse_proxy UP"},

		{name: "another site's proxy", more: "http://a.example.com:PORT {\nupstream_diagnostics\nrespond ok\n}\nhttp://b.example.com:PORT {\nreverse_proxy UP\n}\n", site: "reverse_proxy UP", want: []string{"nothing at a.example.com"}},
		{name: "another site's directive", more: "http://a.example.com:PORT {\nupstream_diagnostics\nreverse_proxy UP\n}\n", site: ours + "reverse_proxy UP"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := testcaddy.NewLogFile(t)
			c := testcaddy.New(t)
			config := c.Caddyfile(l.OfOurs()+"\nEND", test.site)
			config = strings.Replace(config, "\nEND\n}\n", "\n}\n"+test.more, 1)
			config = strings.NewReplacer("UP", testcaddy.Dead(t), "PORT", strconv.Itoa(c.Port)).Replace(config)
			if err := testcaddy.Load(config); err != nil {
				t.Fatal(err)
			}
			if err := caddy.Stop(); err != nil {
				t.Fatal(err)
			}
			if got := warningsOf(l); !slices.Equal(got, test.want) {
				t.Errorf("warned of %q, want %q", got, test.want)
			}
		})
	}
}

// What stands beside `page off` in vain is said once, with its name.
func TestWarnsOfNoEffect(t *testing.T) {
	for name, tc := range map[string]struct {
		block string
		want  []string
	}{
		"page off":                    {block: "page off"},
		"template":                    {block: "page off\ntemplate no.html", want: []string{"page off at 127.0.0.1 template"}},
		"brand":                       {block: "page off\nbrand {\nname Shop\n}", want: []string{"page off at 127.0.0.1 brand"}},
		"retry_after":                 {block: "page off\nretry_after 30s", want: []string{"page off at 127.0.0.1 retry_after"}},
		"retry_after off":             {block: "page off\nretry_after off"},
		"details":                     {block: "page off\ndetails @ops", want: []string{"page off at 127.0.0.1 details"}},
		"details, in Proxy-Status":    {block: "page off\ndetails @ops\nproxy_status_name edge"},
		"all":                         {block: "site till\npage off\ntemplate no.html\nbrand {\nname Shop\n}\nretry_after 30s\ndetails @ops", want: []string{"page off at till template brand details retry_after"}},
		"what is kept, and its label": {block: "site till\npage off\nkeep_query a\nkeep_headers X-A\nclient_ip masked"},
		"a page":                      {block: "brand {\nname Shop\n}\nretry_after 30s\ndetails @ops"},
		"a page that tells nothing":   {block: "page minimal\nbrand {\nname Shop\n}\nretry_after 30s"},
	} {
		t.Run(name, func(t *testing.T) {
			l := testcaddy.NewLogFile(t)
			testcaddy.StartWith(t, l.OfOurs(), "@ops remote_ip 10.20.0.0/16\nupstream_diagnostics {\n"+tc.block+"\n}\nreverse_proxy "+testcaddy.Dead(t))
			if got := warningsOf(l); !slices.Equal(got, tc.want) {
				t.Errorf("warned of %q, want %q", got, tc.want)
			}
		})
	}
}

// Without an App nothing listens inside reverse_proxy. That is said once a load, and
// only where it is so.
func TestWarnsWithoutApp(t *testing.T) {
	for name, tc := range map[string]struct {
		options string
		want    []string
	}{
		"admin":                             {options: ""},
		"admin, and the global option":      {options: "upstream_diagnostics"},
		"admin off":                         {options: "admin off", want: []string{"admin off"}},
		"admin off, with the global option": {options: "admin off\nupstream_diagnostics"},
		"admin off, with options in it":     {options: "admin off\nupstream_diagnostics {\nkeep 10\n}"},
	} {
		t.Run(name, func(t *testing.T) {
			l := testcaddy.NewLogFile(t)
			c := testcaddy.New(t)
			config := c.Caddyfile(l.OfOurs()+"\n"+tc.options, "handle /a {\nupstream_diagnostics\nreverse_proxy UP\n}\nhandle {\nupstream_diagnostics\nreverse_proxy UP\n}")
			config = strings.ReplaceAll(config, "UP", testcaddy.Dead(t))
			t.Cleanup(func() {
				if err := caddy.Stop(); err != nil {
					t.Error(err)
				}
			})
			var want []string
			for range 3 { // each load
				if err := testcaddy.Load(config); err != nil {
					t.Fatal(err)
				}
				want = append(want, tc.want...)
			}
			if got := warningsOf(l); !slices.Equal(got, want) {
				t.Errorf("warned of %q, want %q", got, want)
			}
			// Nothing is started, so that nothing is amiss.
			if err := validateCaddyfile(t, config); err != nil {
				t.Fatal(err)
			}
			if got := warningsOf(l); !slices.Equal(got, want) {
				t.Errorf("after validating: warned of %q, want %q", got, want)
			}
		})
	}
}

// Nothing is behind a dashboard: in a site that has one, every reverse_proxy is known, and no
// request is traced in vain.
func TestDashboardHoldsNoProxy(t *testing.T) {
	testcaddy.Start(t, "upstream_diagnostics\nhandle_path /ops* {\nupstream_dashboard\n}\nreverse_proxy "+testcaddy.Dead(t))
	for _, h := range running(t).ours {
		if !h.place.Heard {
			t.Error("the dashboard passes for a handler that may hold a reverse_proxy")
		}
	}
}

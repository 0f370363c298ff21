package diagnostics

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"
	"golang.org/x/text/language"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/texts"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/typo"
)

const previewHelp = `
Writes what a visitor of a site would get if an upstream failed: the site's
template or brand, in the visitor's language. It reads the config and the
files that it names, and starts nothing: no Caddy has to run.

Without --config it is the Caddyfile in the current directory. Without --site
it is the config's first site that has a page, and the error output names the
others. The config's relative paths start at the current directory.

What isn't given is what is usual for the category: --category timeout is a
504, and it isn't known whether the request was received.
`

const previewExamples = `  $ caddy upstream-failures preview --config Caddyfile --category timeout > page.html
  $ caddy upstream-failures preview --site shop.example.com --method POST --language de > page.html
  $ caddy upstream-failures preview --category request --status 413 --accept application/json --include`

// usual is what a failure of a category mostly is like.
var usual = map[failure.Category]struct {
	status int
	sent   failure.Sent
}{
	failure.CategoryUnavailable:     {http.StatusBadGateway, failure.SentNo},
	failure.CategoryUnreachable:     {http.StatusBadGateway, failure.SentNo},
	failure.CategoryTimeout:         {http.StatusGatewayTimeout, failure.SentMaybe},
	failure.CategoryInvalidResponse: {http.StatusBadGateway, failure.SentYes},
	failure.CategoryErrorResponse:   {http.StatusServiceUnavailable, failure.SentYes},
	failure.CategoryInterrupted:     {http.StatusBadGateway, failure.SentMaybe},
	failure.CategoryRequest:         {http.StatusBadGateway, failure.SentMaybe},
	failure.CategoryUnknown:         {http.StatusBadGateway, failure.SentMaybe},
}

// previewID stands for the reference.
const previewID = "k3f9qw2ax"

// previewCommand is `caddy upstream-failures preview`.
func previewCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:                   "preview [--config <path> [--adapter <name>]] [--site <name>] [--category <name>] [--status <n>] [--request-sent no|maybe|yes] [--method <name>] [--language <tag>] [--retry-after <duration>] [--accept <types>] [--include]",
		Short:                 "Shows what a visitor would get",
		Long:                  previewHelp,
		Example:               previewExamples,
		DisableFlagsInUseLine: true,
		Args:                  cobra.ArbitraryArgs,
		ValidArgsFunction:     cobra.NoFileCompletions,
		RunE:                  exiting(preview),
	}
	flags := cmd.Flags()
	flags.String("site", "", "The `site`, as records name it")
	flags.String("category", string(failure.CategoryUnavailable), "The `category` of the cause: "+strings.Join(categoryNames(), ", "))
	flags.Int("status", 0, "The `status` of the answer, if it isn't the usual one")
	flags.String("request-sent", "", "Whether the request reached the upstream, one `word` of "+strings.Join(sentNames(), ", "))
	flags.String("method", http.MethodGet, "The request's `method`")
	flags.String("language", "", "The visitor's `language`, as Accept-Language has it")
	flags.Duration("retry-after", 0, "The `duration` after which it is worth trying again, where that is known")
	flags.String("accept", "text/html", "The media `types` that the visitor accepts")
	flags.BoolP("include", "i", false, "Write the status and the header, too")
	// The errors are those of a flag that isn't there, or has completions already.
	_ = cmd.RegisterFlagCompletionFunc("category", oneOf(categoryNames))
	_ = cmd.RegisterFlagCompletionFunc("request-sent", oneOf(sentNames))
	for _, name := range []string{"site", "status", "method", "language", "retry-after", "accept"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	return cmd
}

func categoryNames() (names []string) {
	for _, category := range failure.Categories {
		names = append(names, string(category))
	}
	return names
}

func sentNames() []string {
	return []string{string(failure.SentNo), string(failure.SentMaybe), string(failure.SentYes)}
}

// preview writes the answer.
func preview(cmd *cobra.Command, args []string) (code int, err error) {
	if len(args) > 0 {
		return exitUnknown, fmt.Errorf("preview takes flags alone, got %s: a site is named by --site", strings.Join(args, " "))
	}
	for _, flag := range []string{"address", "json"} {
		if cmd.Flags().Changed(flag) {
			return exitUnknown, fmt.Errorf("preview has no --%s: it asks no Caddy", flag)
		}
	}
	wanted, err := wantedOf(cmd)
	if err != nil {
		return exitUnknown, err
	}
	h, err := previewed(cmd)
	if err != nil {
		return exitUnknown, err
	}
	public, err := h.wouldDisclose(wanted)
	if err != nil {
		return exitUnknown, h.here(err)
	}
	a := &answered{header: make(http.Header)}
	if err := h.page.Answer(a, wanted.request, public, nil); err != nil {
		return exitUnknown, h.here(err)
	}
	if a.body.Len() == 0 && !wanted.include {
		cmd.PrintErrf("the answer has no body: --include shows its status (%d) and header\n", a.status)
	}
	noteLanguage(cmd, h, a)
	if wanted.include {
		fmt.Fprintf(cmd.OutOrStdout(), "HTTP/1.1 %d %s\r\n", a.status, http.StatusText(a.status))
		if err := a.header.Write(cmd.OutOrStdout()); err != nil {
			return exitUnknown, err
		}
		fmt.Fprint(cmd.OutOrStdout(), "\r\n")
	}
	_, err = a.body.WriteTo(cmd.OutOrStdout())
	return unknown(err)
}

// wanted is the failure, and the visitor, whose answer is to be shown.
type wanted struct {
	public  failure.Public
	request *http.Request
	include bool
}

// wantedOf reads the flags.
func wantedOf(cmd *cobra.Command) (w wanted, err error) {
	flags := cmd.Flags()
	text := func(name string) string { value, _ := flags.GetString(name); return value }
	category, sent := text("category"), text("request-sent")
	retryAfter, _ := flags.GetDuration("retry-after")
	if err := cmp.Or(
		checkFlag("category", category, categoryNames()),
		checkFlag("request-sent", sent, append(sentNames(), "")),
	); err != nil {
		return w, err
	}
	w.include, _ = flags.GetBool("include")
	w.public = failure.Public{
		ID: previewID, Time: failure.At(time.Now()), Category: failure.Category(category),
		RequestSent: failure.Sent(sent), RetryAfter: retryAfter,
	}
	if sent == "" {
		w.public.RequestSent = usual[w.public.Category].sent
	}
	if w.public.Status, _ = flags.GetInt("status"); flags.Changed("status") && (w.public.Status < 400 || w.public.Status > 599) {
		return w, fmt.Errorf("--status: expected an error from 400 to 599, got %d", w.public.Status)
	}
	if flags.Changed("retry-after") && (retryAfter < minRetryAfter || retryAfter > maxRetryAfter) {
		return w, fmt.Errorf("--retry-after: expected a duration from 1s to 24h, got %s", retryAfter)
	}
	if w.request, err = http.NewRequestWithContext(cmd.Context(), strings.ToUpper(text("method")), "http://localhost/", nil); err != nil {
		return w, fmt.Errorf("--method: %w", err)
	}
	w.request.Header.Set("Accept", text("accept"))
	if spoken := text("language"); spoken != "" {
		if _, _, err := language.ParseAcceptLanguage(spoken); err != nil {
			return w, fmt.Errorf("--language: expected a language's tag such as de or pt-BR, got %q; there are texts in %s", spoken, strings.Join(texts.BuiltinTags(), ", "))
		}
		w.request.Header.Set("Accept-Language", spoken)
	}
	return w, nil
}

func checkFlag(name, value string, words []string) error {
	if slices.Contains(words, value) {
		return nil
	}
	expected := slices.DeleteFunc(slices.Clone(words), func(word string) bool { return word == "" })
	return fmt.Errorf("--%s: expected one of %s, got %q%s", name, strings.Join(expected, ", "), value, typo.DidYouMean(typo.Nearest(value, expected)))
}

// previewed is the handler that is meant, with its page loaded.
func previewed(cmd *cobra.Command) (*Handler, error) {
	flags := cmd.Flags()
	file, _ := flags.GetString("config")
	adapter, _ := flags.GetString("adapter")
	config, from, err := readConfig(cmd.InOrStdin(), file, adapter)
	if err != nil {
		return nil, err
	}
	if from == "" {
		return nil, errors.New("there is no Caddyfile in the current directory: name the config by --config")
	}
	handlers, err := handlersIn(config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	site, _ := flags.GetString("site")
	h, err := choose(handlers, site)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	noteChoice(cmd, h, handlers, site)
	if err := h.Validate(); err != nil {
		return nil, err
	}
	if err := h.loadPage(); err != nil {
		return nil, h.here(err)
	}
	return h, nil
}

// noteChoice says what else there is than h.
func noteChoice(cmd *cobra.Command, h *Handler, handlers []*Handler, site string) {
	others := slices.DeleteFunc(labelsOf(handlers), func(label string) bool { return label == h.where })
	if site == "" && len(others) > 0 {
		cmd.PrintErrf("this is the page of %s: --site chooses another one (%s)\n", h.where, strings.Join(others, ", "))
	}
	for i := slices.Index(handlers, h) + 1; i < len(handlers); i++ {
		if handlers[i].where == h.where && handlers[i].Page != pageOff {
			cmd.PrintErrf("%s has more than one upstream_diagnostics: this is the page of the first; give each a name by its option site\n", h.where)
			return
		}
	}
}

// choose is the first one of that site; without a name, the first one that has a page.
func choose(handlers []*Handler, site string) (*Handler, error) {
	if len(handlers) == 0 {
		return nil, errors.New("there is no upstream_diagnostics in it: put one into a site")
	}
	index := slices.IndexFunc(handlers, func(h *Handler) bool {
		return (site == "" || h.where == site) && h.Page != pageOff
	})
	switch {
	case index >= 0:
		return handlers[index], nil
	case site == "":
		return nil, errors.New("each upstream_diagnostics has `page off`, which answers nobody")
	case slices.Contains(labelsOf(handlers), site):
		return nil, fmt.Errorf("the upstream_diagnostics of %s has `page off`, which answers nobody", site)
	}
	labels := labelsOf(handlers)
	return nil, fmt.Errorf("--site: there is no upstream_diagnostics of %q; there are those of %s%s", site, strings.Join(labels, ", "), typo.DidYouMean(typo.Nearest(site, labels)))
}

// labelsOf are the sites of handlers, each once.
func labelsOf(handlers []*Handler) (labels []string) {
	for _, h := range handlers {
		if !slices.Contains(labels, h.where) {
			labels = append(labels, h.where)
		}
	}
	return labels
}

// handlersIn finds our handlers in a config, in the order of its routes, each with its site.
// It provisions nothing: that would open logs, make certificates and begin health checks.
func handlersIn(config []byte) (handlers []*Handler, err error) {
	var has struct {
		Apps struct {
			HTTP struct {
				Servers map[string]any `json:"servers"`
			} `json:"http"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(caddy.RemoveMetaFields(config), &has); err != nil {
		return nil, err
	}
	servers := has.Apps.HTTP.Servers
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		err := eachHandler(servers[name], "", func(fields map[string]any, host string) error {
			h := new(Handler)
			delete(fields, "handler")
			raw, err := json.Marshal(fields)
			if err == nil {
				err = caddy.StrictUnmarshalJSON(raw, h)
			}
			if err != nil {
				return fmt.Errorf("site %s: %w", cmp.Or(host, name), err)
			}
			h.where = cmp.Or(h.Site, host, name)
			handlers = append(handlers, h)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return handlers, nil
}

// eachHandler gives each of our handlers within a part of a config, with the first host of
// the outermost host matcher on the way to it.
func eachHandler(part any, host string, do func(fields map[string]any, host string) error) error {
	switch part := part.(type) {
	case []any:
		for _, one := range part {
			if err := eachHandler(one, host, do); err != nil {
				return err
			}
		}
	case map[string]any:
		if part["handler"] == "upstream_diagnostics" {
			return do(part, host)
		}
		if host == "" {
			host = hostIn(part["match"])
		}
		keys := slices.Sorted(maps.Keys(part))
		if i := slices.Index(keys, "routes"); i > 0 { // those of a server come before its errors'
			keys = slices.Insert(slices.Delete(keys, i, i+1), 0, "routes")
		}
		for _, key := range keys {
			if err := eachHandler(part[key], host, do); err != nil {
				return err
			}
		}
	}
	return nil
}

// hostIn is the first host of a route's matchers; "" without one.
func hostIn(match any) string {
	sets, _ := match.([]any)
	for _, set := range sets {
		matchers, _ := set.(map[string]any)
		if hosts, _ := matchers["host"].([]any); len(hosts) > 0 {
			host, _ := hosts[0].(string)
			return host
		}
	}
	return ""
}

// wouldDisclose is what the page of h would be given. It refuses what no visitor of h gets.
func (h *Handler) wouldDisclose(w wanted) (failure.Public, error) {
	public := w.public
	if public.Status == 0 {
		public.Status = usual[public.Category].status
		if i := slices.IndexFunc(h.Intercept, func(status int) bool { return status > 5 }); i >= 0 && public.Category == failure.CategoryErrorResponse && !h.intercepts(public.Status) {
			public.Status = h.Intercept[i]
		}
	}
	if public.Category == failure.CategoryErrorResponse && (h.intercepts == nil || !h.intercepts(public.Status)) {
		return public, fmt.Errorf("an upstream's own answer with %d passes as it is: `intercept %d` would replace it by the page", public.Status, public.Status)
	}
	switch {
	case !h.retry.auto && public.RetryAfter > 0:
		return public, fmt.Errorf("--retry-after: a visitor is told what the config says: retry_after %s", h.RetryAfter)
	case !h.retry.auto:
		public.RetryAfter = h.retry.fixed
	}
	return public, nil
}

// noteLanguage says that a visitor gets another language than that which was asked for.
func noteLanguage(cmd *cobra.Command, h *Handler, a *answered) {
	spoken, _ := cmd.Flags().GetString("language")
	got := a.header.Get("Content-Language")
	wanted, _, err := language.ParseAcceptLanguage(spoken)
	if err != nil || len(wanted) == 0 || got == "" {
		return
	}
	gotBase, _ := language.Make(got).Base()
	if slices.ContainsFunc(wanted, func(tag language.Tag) bool { base, _ := tag.Base(); return base == gotBase }) {
		return
	}
	cmd.PrintErrf("who asks for %s gets %s: there are texts in %s\n", spoken, got, strings.Join(h.languages.Tags(), ", "))
}

// answered is a ResponseWriter that keeps the answer.
type answered struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answered) Header() http.Header         { return a.header }
func (a *answered) WriteHeader(status int)      { a.status = status }
func (a *answered) Write(b []byte) (int, error) { return a.body.Write(b) }

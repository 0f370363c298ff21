package diagnostics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/operator"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/terminal"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/typo"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:      "upstream-failures",
		Usage:     "[<id>|latest] [--address <admin>] [--config <path> [--adapter <name>]] [--upstream <name>] [--cause <name>] [--site <name>] [--outcome <name>] [--since <time>] [--limit <n>] [--follow] [--incidents] [--check] [--json]",
		Short:     "Shows why upstreams failed",
		Long:      commandHelp,
		CobraFunc: describeCommand,
	})
}

const commandHelp = `
Shows what is broken now, and the newest failures of reverse_proxy's upstreams,
as the upstream_diagnostics handler of a running Caddy recorded them. With an
id, which visitors see as their reference, it shows that failure in full;
'latest' stands for the id of the newest one.

--follow shows failures as they come, until Ctrl-C. It waits where Caddy is
restarted. --incidents shows what was broken too, open incidents first; with
--follow, each that opens or is resolved; with an incident's id that one in
full.

--check is for scripts and health checks: it prints the open incidents, and
nothing where there are none.

The filters --upstream, --cause, --site and --outcome take several values,
separated by commas; any of them fits. --since takes a time (RFC 3339) or a
duration back, such as 15m or 2d.

Caddy's admin endpoint is found as by 'caddy reload': it is --address, or that
of the config that --config names or that is the Caddyfile in the current
directory, or the CADDY_ADMIN environment variable, or localhost:2019.

On a terminal there are colours, unless NO_COLOR is set; CLICOLOR_FORCE=1 has
them in a pipe too. --json writes a line of JSON for each failure or incident,
as the admin endpoint has it.

Exit status:
  0  what was asked for was shown; with --check, no incident is open
  1  with --check: an incident is open
  2  it can't be told; the error output says why
`

const commandExamples = `  $ caddy upstream-failures
  $ caddy upstream-failures k3f9qw2ax
  $ caddy upstream-failures latest --upstream app:8080
  $ caddy upstream-failures --since 15m --outcome failed,truncated
  $ caddy upstream-failures --follow --site example.com
  $ caddy upstream-failures --incidents
  $ caddy upstream-failures --json --limit 1000 | jq -r .cause | sort | uniq -c
  $ caddy upstream-failures --check --address localhost:2019
  $ caddy upstream-failures probe app:8080
  $ caddy upstream-failures preview --category timeout > page.html`

const probeHelp = `
Asks a configured upstream now, step by step (name, connection, TLS, HTTP), by
the transport of its reverse_proxy, and says what comes of it. Caddy itself
asks, so that it is asked from where Caddy runs. It changes no health state.
`

// The exit codes of the command.
const (
	exitOpen    = 1 // with --check
	exitUnknown = 2
)

// commandFilters are the flags that are filters of the API.
var commandFilters = []string{"upstream", "cause", "site", "outcome", "since"}

// describeCommand makes cmd the command.
func describeCommand(cmd *cobra.Command) {
	cmd.Example = commandExamples
	cmd.DisableFlagsInUseLine = true
	cmd.RunE = exiting(showFailures)
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return exit(cmd, exitUnknown, err) })

	flags := cmd.PersistentFlags()
	flags.String("address", "", "The `address` of Caddy's admin endpoint, if it isn't that of the config")
	flags.StringP("config", "c", "", "The configuration `file` that names it")
	flags.StringP("adapter", "a", "", "The `name` of the config adapter to apply")
	flags.Bool("json", false, "Write JSON")

	flags = cmd.Flags()
	flags.StringArray("upstream", nil, "Only those of this `upstream`, as it is configured")
	flags.StringArray("cause", nil, "Only those with this `cause`")
	flags.StringArray("site", nil, "Only those of this `site`")
	flags.StringArray("outcome", nil, "Only those with this `outcome`: "+strings.Join(outcomeNames(), ", "))
	flags.String("since", "", "Only those since this `time`, or this long ago")
	flags.Int("limit", terminal.DefaultLimit, fmt.Sprintf("List at most this `number`, up to %d; with --follow, 0 shows new ones only", failure.MaxLimit))
	flags.BoolP("follow", "f", false, "Show those that come, until Ctrl-C")
	flags.Bool("incidents", false, "Show incidents")
	flags.Bool("check", false, "Print the open incidents, and exit with status 1 if there are any")

	// The errors are those of a flag that isn't there, or has completions already.
	_ = cmd.RegisterFlagCompletionFunc("cause", oneOf(causeNames))
	_ = cmd.RegisterFlagCompletionFunc("outcome", oneOf(outcomeNames))
	for _, name := range []string{"address", "upstream", "site", "since", "limit"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return []cobra.Completion{terminal.Latest}, cobra.ShellCompDirectiveNoFileComp
	}

	ask := &cobra.Command{
		Use:                   "probe <upstream> [--site <name>] [--address <admin>] [--config <path> [--adapter <name>]] [--json]",
		Short:                 "Asks an upstream now, step by step",
		Long:                  probeHelp,
		Example:               "  $ caddy upstream-failures probe app:8080",
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     cobra.NoFileCompletions,
		RunE:                  exiting(probe),
	}
	ask.Flags().String("site", "", "As this `site` asks it, where several do")
	_ = ask.RegisterFlagCompletionFunc("site", cobra.NoFileCompletions)
	cmd.AddCommand(ask, previewCommand())
}

func causeNames() (names []string) {
	for row := range cause.Rows() {
		names = append(names, row.Name)
	}
	return names
}

func outcomeNames() (names []string) {
	for _, outcome := range failure.Outcomes {
		names = append(names, string(outcome))
	}
	return names
}

// oneOf completes the last of several values between commas.
func oneOf(names func() []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		before := begun[:strings.LastIndex(begun, ",")+1]
		all := names()
		for i := range all {
			all[i] = before + all[i]
		}
		return all, cobra.ShellCompDirectiveNoFileComp
	}
}

// exiting makes a command of what gives its exit code.
func exiting(run func(*cobra.Command, []string) (int, error)) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		code, err := run(cmd, args)
		return exit(cmd, code, err)
	}
}

// exit ends a command with that code. An error is told here, on one line: not as Caddy's
// log tells it, for people read it, and cron mails it.
func exit(cmd *cobra.Command, code int, err error) error {
	if err != nil {
		cmd.PrintErrln("Error: " + terminal.Sentence(err))
	}
	cmd.SilenceErrors = true
	if code == exitOpen {
		return errOpen // of which Caddy makes 1; of the code 1 it would make 0
	}
	return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return code, nil })(cmd, nil)
}

var errOpen = errors.New("an incident is open")

// showFailures is `caddy upstream-failures`.
func showFailures(cmd *cobra.Command, args []string) (code int, err error) {
	c, err := commandOf(cmd)
	if err != nil {
		return exitUnknown, err
	}
	flags := cmd.Flags()
	is := func(flag string) bool { set, _ := flags.GetBool(flag); return set }
	if err := combined(cmd, args, is); err != nil {
		return exitUnknown, err
	}
	if err := findAPI(cmd, c); err != nil {
		return exitUnknown, err
	}
	defer c.API.Close()

	ctx := cmd.Context()
	switch {
	case is("check"):
		open, err := c.Check(ctx)
		if err == nil && open {
			return exitOpen, nil
		}
		return unknown(err)
	case is("follow"):
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
		defer stop()
		if is("incidents") {
			return unknown(c.FollowIncidents(ctx))
		}
		return unknown(c.Follow(ctx))
	case len(args) == 1 && is("incidents"):
		return unknown(c.Incident(ctx, args[0]))
	case len(args) == 1:
		return unknown(c.Failure(ctx, args[0]))
	case is("incidents"):
		return unknown(c.Incidents(ctx))
	}
	return unknown(c.List(ctx))
}

// probe is `caddy upstream-failures probe`.
func probe(cmd *cobra.Command, args []string) (code int, err error) {
	if len(args) != 1 {
		return exitUnknown, fmt.Errorf("expected one upstream, such as app:8080, got %d", len(args))
	}
	c, err := commandOf(cmd)
	if err != nil {
		return exitUnknown, err
	}
	if err := findAPI(cmd, c); err != nil {
		return exitUnknown, err
	}
	defer c.API.Close()
	return unknown(c.Probe(cmd.Context(), args[0], c.Filters.Get("site")))
}

// unknown is the exit code of a command that has shown what was asked for, unless err says
// that it could not.
func unknown(err error) (int, error) {
	if err != nil {
		return exitUnknown, err
	}
	return 0, nil
}

// combined refuses flags that have no meaning together.
func combined(cmd *cobra.Command, args []string, is func(string) bool) error {
	if len(args) > 1 {
		return fmt.Errorf("expected one id at most, got %d: %s%s", len(args), strings.Join(args, " "), typo.DidYouMean(typo.Nearest(args[0], []string{"probe", "preview"})))
	}
	without := func(what string, flags ...string) error {
		for _, flag := range flags {
			if cmd.Flags().Changed(flag) {
				return fmt.Errorf("%s has no --%s", what, flag)
			}
		}
		return nil
	}
	switch {
	case is("check") && len(args) > 0:
		return errors.New("--check takes no id")
	case is("check"):
		return without("--check", "follow", "outcome", "since", "limit")
	case len(args) > 0 && args[0] == terminal.Latest && !is("incidents"):
		return without(terminal.Latest, "follow", "limit")
	case len(args) > 0:
		return without("one that is named by its id", slices.Concat(commandFilters, []string{"follow", "limit"})...)
	case is("follow") && is("incidents"):
		return without("--follow --incidents", "limit")
	}
	limit, err := cmd.Flags().GetInt("limit")
	if err == nil && (limit < 0 || limit > failure.MaxLimit || limit == 0 && !is("follow")) {
		err = fmt.Errorf("--limit: expected a number from 1 to %d, got %d", failure.MaxLimit, limit)
	}
	return err
}

// commandOf reads the flags.
func commandOf(cmd *cobra.Command) (*terminal.Command, error) {
	c := &terminal.Command{
		Out: cmd.OutOrStdout(), Err: cmd.ErrOrStderr(), Filters: url.Values{},
		Lookup: report.Lookup{Guide: operator.GuideIn(slices.Collect(cause.Rows()))},
		Screen: func() terminal.Screen { return terminal.ScreenOf(cmd.OutOrStdout(), os.Getenv) },
	}
	flags := cmd.Flags()
	for _, name := range commandFilters {
		flag := flags.Lookup(name)
		if flag == nil || !flag.Changed {
			continue
		}
		if list, err := flags.GetStringArray(name); err == nil {
			c.Filters[name] = list
		} else {
			c.Filters.Set(name, flag.Value.String())
		}
	}
	var err error
	if c.JSON, err = flags.GetBool("json"); err != nil {
		return nil, err
	}
	if limit := flags.Lookup("limit"); limit != nil { // the subcommand has none
		if c.Limit, err = flags.GetInt("limit"); err != nil {
			return nil, err
		}
		if incidents, _ := flags.GetBool("incidents"); incidents && !limit.Changed {
			c.Limit = math.MaxInt // as the API, which has no limit of them
		}
	}
	return c, nil
}

// findAPI gives c the API of the Caddy that is meant.
func findAPI(cmd *cobra.Command, c *terminal.Command) error {
	address, from, err := adminAddress(cmd)
	if err != nil {
		return err
	}
	endpoint, err := adminEndpoint(address)
	if err != nil {
		return err
	}
	if from != "" {
		endpoint.Address += " (which " + from + " names)"
	}
	c.API = terminal.NewAPI(endpoint)
	return nil
}

// adminAddress is where `caddy reload` would look for the admin endpoint, and the config
// that says so.
func adminAddress(cmd *cobra.Command) (address, from string, err error) {
	flags := cmd.Flags()
	if address, err = flags.GetString("address"); address != "" || err != nil {
		return address, "", err
	}
	file, _ := flags.GetString("config")
	adapter, _ := flags.GetString("adapter")
	config, from, err := readConfig(cmd.InOrStdin(), file, adapter)
	if err != nil {
		return "", "", fmt.Errorf("which admin endpoint is meant? %w; name it by --address, such as --address %s", err, caddy.DefaultAdminListen)
	}
	var says struct {
		Admin caddy.AdminConfig `json:"admin"`
	}
	if from != "" && json.Unmarshal(config, &says) == nil && says.Admin.Disabled {
		return "", "", fmt.Errorf("%s has \"admin off\", so that nobody can be asked: failures are in Caddy's log alone (to ask another Caddy, name it by --address)", from)
	}
	if address, err = caddycmd.DetermineAdminAPIAddress("", config, from, adapter); says.Admin.Listen == "" {
		from = "" // it is the default
	}
	return address, from, err
}

// readConfig reads a config as caddycmd.LoadConfig does, which can't be used: it logs that
// it does so, and each line would be in a mail of cron's.
func readConfig(stdin io.Reader, file, adapter string) (config []byte, from string, err error) {
	switch {
	case file == "-":
		config, err = io.ReadAll(stdin)
	case file != "":
		config, err = os.ReadFile(file)
	case adapter != "":
		return nil, "", errors.New("--adapter is that of a --config")
	default:
		file = "Caddyfile"
		if config, err = os.ReadFile(file); errors.Is(err, fs.ErrNotExist) {
			return nil, "", nil
		}
	}
	if err != nil {
		return nil, "", err
	}
	name := strings.ToLower(filepath.Base(file))
	if adapter == "" && filepath.Ext(name) != ".json" && (strings.HasPrefix(name, "caddyfile") || strings.HasSuffix(name, ".caddyfile")) {
		adapter = "caddyfile"
	}
	if adapter == "" {
		if !json.Valid(config) {
			return nil, "", fmt.Errorf("%s is not JSON: name its adapter by --adapter", file)
		}
		return config, file, nil
	}
	adapts := caddyconfig.GetAdapter(adapter)
	if adapts == nil {
		return nil, "", fmt.Errorf("there is no adapter %q", adapter)
	}
	if config, _, err = adapts.Adapt(config, map[string]any{"filename": file}); err != nil {
		return nil, "", fmt.Errorf("%s can't be adapted: %w", file, err)
	}
	return config, file, nil
}

// adminEndpoint is what listens at an admin address. It is asked as by Caddy's own
// commands (caddycmd.AdminAPIRequest, which can't tell errors apart nor be interrupted).
func adminEndpoint(address string) (e terminal.Endpoint, err error) {
	parsed, err := caddy.ParseNetworkAddress(address)
	if err != nil || parsed.PortRangeSize() > 1 || strings.Contains(address, "://") {
		return e, fmt.Errorf("expected an admin address such as localhost:2019 or unix//run/caddy.sock, got %q", address)
	}
	network, to := parsed.Network, parsed.JoinHostPort(0)
	e = terminal.Endpoint{Address: address, Host: to, Origin: "http://" + to, Path: adminPath}
	switch {
	case parsed.IsFdNetwork():
		return e, fmt.Errorf("%s is a socket that only Caddy's process has", address)
	case parsed.IsUnixNetwork():
		network = "unix"
		to, _, _ = strings.Cut(to, "|") // its permissions
		e.Host, e.Origin = "127.0.0.1", ""
	case parsed.StartPort == 0:
		return e, fmt.Errorf("expected an admin address with a port such as localhost:2019, got %q", address)
	}
	e.Dial = func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, to)
	}
	return e, nil
}

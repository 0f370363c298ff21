package report

import (
	"strings"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

var github = goldmark.New(goldmark.WithExtensions(extension.GFM))

// withText is whole with s wherever others may have said something.
func withText(s string) *failure.Failure {
	f := whole()
	for _, field := range []*string{
		&f.ID, &f.Instance, &f.Site, &f.Upstream, &f.Cause, &f.ProxyError, &f.Summary, &f.Advice, &f.Error, &f.Evidence[0],
		&f.Incident, &f.TraceID, &f.Limit.Name, &f.Attempts[0].Upstream, &f.Attempts[0].Address, &f.Attempts[0].Error,
		&f.Attempts[0].Cause, &f.Attempts[0].Protocol, &f.Attempts[1].Errno, &f.Unavailable[0].Upstream, &f.Unavailable[0].Check,
		&f.Unavailable[0].LastFailure, &f.Received.Server, &f.Request.Method, &f.Request.Host, &f.Request.URI, &f.Request.ClientIP,
	} {
		*field = s
	}
	f.Request.Headers = map[string][]string{s: {s}}
	return f
}

// keepsIn says what in a record's Markdown is more than it may be.
func keepsIn(t *testing.T, f *failure.Failure) {
	t.Helper()
	var drawn strings.Builder
	if err := Markdown(&drawn, f); err != nil {
		t.Fatal(err)
	}
	source := []byte(drawn.String())
	var headings, links, tables, images, other, spread int
	rows := map[int]int{}
	err := ast.Walk(github.Parser().Parse(text.NewReader(source)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			headings++
		case *ast.Link:
			links++
			if !strings.HasPrefix(string(n.Destination), DocsURL) {
				t.Errorf("a link to %q", n.Destination)
			}
		case *extast.Table:
			tables++
		case *extast.TableRow:
			rows[tables]++
			if n.ChildCount() > 6 {
				spread++
			}
		case *ast.Image:
			images++
		case *ast.AutoLink, *ast.HTMLBlock, *ast.RawHTML, *ast.FencedCodeBlock, *ast.CodeBlock, *ast.ThematicBreak, *ast.Blockquote, *extast.TaskCheckBox, *extast.Strikethrough:
			other++
			t.Errorf("a %s", n.Kind())
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantLinks := 1
	if f.Cause == "" || f.Advice == "" {
		wantLinks = 0
	}
	if headings != 1 || links != wantLinks || tables != 4 || images+other+spread > 0 || rows[1] != len(f.Attempts) {
		t.Errorf("%d headings, %d links, %d tables with %v rows, %d images, %d others in\n%s", headings, links, tables, rows, images, other, source)
	}
}

func TestMarkdownKeepsTextIn(t *testing.T) {
	for name, s := range map[string]string{
		"plain": "app:8080", "all": hostile, "bars": `a|b \| c \\| d`, "backticks": "```\n` `` ```` x`", "a link": "[x](https://evil.example/)", "an image": "![x](https://evil.example/x.png)",
		"an address": "see https://evil.example/ and www.evil.example.", "a mention": "@somebody or me@example.com, mailto:me@example.com", "HTML": "<img src=x onerror=alert(1)><!-- -->",
		"lines": "a\n\n# b\n- [ ] c\n---\n> d\n\n    e", "stars": "**a** __b__ ~~c~~ $$d$$", "a reference": "[x]: https://evil.example/", "spaces": "  ` a `  ", "backslash": `\`, "a backtick": "`",
		"an entity": "&lt;b&gt; &#124;", "a footnote": "[^1]", "two trailing": "a \\",
	} {
		t.Run(name, func(t *testing.T) { keepsIn(t, withText(s)) })
	}
}

// What is in a table's cell is read as it was.
func TestMarkdownCell(t *testing.T) {
	for _, s := range []string{"a|b", `a\|b`, "a`|`b", "``|"} {
		source := []byte("| a |\n|---|\n| " + cell(s) + " |\n")
		got := ""
		_ = ast.Walk(github.Parser().Parse(text.NewReader(source)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
			if span, ok := n.(*ast.CodeSpan); ok && entering {
				for child := span.FirstChild(); child != nil; child = child.NextSibling() {
					got += string(child.(*ast.Text).Segment.Value(source))
				}
			}
			return ast.WalkContinue, nil
		})
		if got != s {
			t.Errorf("%q is read as %q in %s", s, got, source)
		}
	}
}

func FuzzMarkdown(f *testing.F) {
	for _, s := range []string{"app:8080", hostile, "a|b", "```", "https://evil.example", "@x", "\\", "*a*", "[x](y)", "<b>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { keepsIn(t, withText(s)) })
}

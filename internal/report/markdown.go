package report

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

func writeMarkdown(b *bytes.Buffer, v view) {
	fmt.Fprintf(b, "### %s\n\n", plain(v.Summary))
	tags := words(prefixed("cause ", code(v.Cause)))
	for _, tag := range v.Tags {
		tags = append(tags, strings.ToLower(tag.Label)+" "+code(tag.Value))
	}
	fmt.Fprintf(b, "%s\n", strings.Join(tags, ", "))
	if v.Got != "" {
		fmt.Fprintf(b, "\n**The client got**: %s\n", plain(v.Got))
	}
	if v.Advice != "" {
		fmt.Fprintf(b, "\n**What to do**: %s", plain(v.Advice))
		if v.Docs != "" {
			fmt.Fprintf(b, " ([about this cause](<%s>))", strings.NewReplacer("<", "%3C", ">", "%3E", " ", "%20", `\`, "%5C").Replace(v.Docs))
		}
		b.WriteByte('\n')
	}
	if len(v.Evidence) > 0 {
		b.WriteString("\n**Evidence**\n\n")
		for _, evidence := range v.Evidence {
			fmt.Fprintf(b, "- %s\n", code(evidence))
		}
	}
	if len(v.Attempts) > 0 {
		fmt.Fprintf(b, "\n**Attempts** (the request took %s)\n\n", v.Took)
		b.WriteString("| | upstream | outcome | when | phases | details |\n|---|---|---|---|---|---|\n")
		for _, a := range v.Attempts {
			switch a.Skipped {
			case 0:
			case 1:
				b.WriteString("| … | 1 more is not kept | | | | |\n")
			default:
				fmt.Fprintf(b, "| … | %d more are not kept | | | | |\n", a.Skipped)
			}
			outcome := "worked"
			if a.Cause != "" {
				outcome = cell(a.Cause)
			}
			details := make([]string, 0, len(a.Path)+1)
			for _, detail := range slices.Concat(words(a.Role), a.Path, words(a.Error)) {
				details = append(details, cell(detail))
			}
			fmt.Fprintf(b, "| %d | %s | %s | %s | %s | %s |\n", a.Number, cell(a.Upstream), outcome, a.Took, a.Label, strings.Join(details, ", "))
		}
	}
	if len(v.Unavailable) > 0 {
		b.WriteString("\n**Not available**\n\n")
		for _, one := range v.Unavailable {
			fmt.Fprintf(b, "- %s: %s\n", code(one.Upstream), code(one.text()))
		}
	}
	for _, group := range v.Groups {
		fmt.Fprintf(b, "\n| %s | |\n|---|---|\n", group.Name)
		for _, one := range group.Facts {
			label := one.Label
			if plain(label) != label { // a field's name that a config keeps
				label = cell(label)
			}
			fmt.Fprintf(b, "| %s | %s |\n", label, cell(one.Value))
		}
	}
}

// code makes a code span, in which Markdown means nothing.
func code(s string) string {
	if strings.TrimSpace(s) == "" {
		return ""
	}
	fence := strings.Repeat("`", longestRun(s, '`')+1)
	if len(fence) > 1 || strings.HasPrefix(s, " ") && strings.HasSuffix(s, " ") {
		return fence + " " + s + " " + fence
	}
	return fence + s + fence
}

// cell makes a code span for a table: GitHub's end a cell at a bar even inside of code.
func cell(s string) string { return strings.ReplaceAll(code(s), "|", `\|`) }

func longestRun(s string, of byte) (longest int) {
	run := 0
	for i := range len(s) {
		if s[i] != of {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}

// plain makes a sentence mean nothing but itself in Markdown. A word of which GitHub would
// make a link or a mention without any sign of Markdown is code.
func plain(sentence string) string {
	all := strings.Split(sentence, " ")
	for i, word := range all {
		if strings.ContainsAny(word, "@") || strings.Contains(word, "://") || strings.Contains(strings.ToLower(word), "www.") {
			all[i] = code(word)
		} else {
			all[i] = markdown.Replace(word)
		}
	}
	return strings.Join(all, " ")
}

var markdown = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", `*`, `\*`, `_`, `\_`, `[`, `\[`, `]`, `\]`, `<`, `\<`, `>`, `\>`,
	`|`, `\|`, `#`, `\#`, `~`, `\~`, `&`, `\&`, `!`, `\!`, `$`, `\$`,
)

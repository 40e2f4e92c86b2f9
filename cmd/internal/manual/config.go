package manual

import (
	"fmt"
	"strings"
	"time"
)

// ConfigPage returns the man page, in section 5, of the config file at path, whose commented sample this is.
func ConfigPage(path, sample string, date time.Time) string {
	parsed := ParseSample(sample)
	name := path[strings.LastIndex(path, "/")+1:]

	var page strings.Builder

	fmt.Fprintf(&page, ".TH %q 5 %q trustpool \"trustpool manual\"\n", strings.ToUpper(name), date.UTC().Format("2006-01-02"))
	fmt.Fprintf(&page, ".SH NAME\n%s \\- %s\n", escape(name), escape(lowerFirst(strings.TrimSuffix(parsed.Intro[0], ": "+path))))
	fmt.Fprintf(&page, ".SH SYNOPSIS\n%s\n.SH DESCRIPTION\n", escape(path))
	page.WriteString("A YAML file. A key that is not listed here, or that is there twice, is refused. clients[].roles means the key roles of each item below clients.\n")
	page.WriteString(".SH KEYS\n")

	for _, key := range parsed.Keys {
		writeKey(&page, key)
	}

	return page.String()
}

// writeKey writes keys that share a text. A key without one only has others below it, and is left out.
func writeKey(page *strings.Builder, key Key) {
	if len(key.Text) == 0 {
		return
	}

	for i, path := range key.Paths {
		tag := ".TQ\n"
		if i == 0 {
			tag = ".TP\n"
		}

		note := ""
		if value := key.Defaults[i]; value != "" {
			note = " (default: " + escape(value) + ")"
		}

		page.WriteString(tag + `\fB` + escape(path) + `\fR` + note + "\n")
	}

	for _, line := range key.Text {
		// What is indented in the comment is a table.
		if strings.HasPrefix(line, " ") {
			page.WriteString(".nf\n" + escape(line) + "\n.fi\n")
		} else {
			page.WriteString(escape(line) + "\n")
		}
	}
}

// escape makes a line of text mean itself to roff(7).
func escape(line string) string {
	line = strings.ReplaceAll(line, `\`, `\e`)
	line = strings.ReplaceAll(line, "-", `\-`)

	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		line = `\&` + line
	}

	return line
}

func lowerFirst(s string) string {
	return strings.ToLower(s[:1]) + s[1:]
}

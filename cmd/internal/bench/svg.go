package main

import (
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// draw draws the results into a folder.
func (r *results) draw(dir string) error {
	for name, picture := range map[string]chart{"latency.svg": r.latencyChart(), "crowd.svg": r.crowdChart()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(picture.svg()), 0o644); err != nil { //nolint:gosec // a picture
			return fmt.Errorf("drawing: %w", err)
		}
	}

	return nil
}

// chart is a picture of bars, in groups, on a logarithmic scale.
type chart struct {
	title, unit string
	groups      []group
}

type group struct {
	title string
	bars  []bar
}

// bar is one value above 0. Style is 0 for references and others, 1 for one way, 2 for the other.
type bar struct {
	label string
	value float64
	style int
}

// latencyChart shows each case in quotes of its own kind of key.
func (r *results) latencyChart() chart {
	c := chart{title: "One caller after the other: time of an attestation / time of a raw TPM2_Quote", unit: "x"}

	for _, key := range []string{ecdsa, rsa} {
		g := group{title: key}

		for _, one := range r.Cases {
			if one.Key != key || one.DelayMS > 0 || one.Case == caseNoTPM {
				continue
			}

			style := 0
			if strings.HasPrefix(one.Case, "mTLS") || one.Case == caseUnix {
				style = 1
			}

			g.bars = append(g.bars, bar{one.Case, one.Ratio, style})
		}

		c.groups = append(c.groups, g)
	}

	return c
}

// crowdChart shows how many quotes a second a crowd gets.
func (r *results) crowdChart() chart {
	c := chart{title: "Many callers at a time over mutual TLS: quotes a second", unit: "/s"}

	for _, line := range r.Crowds {
		title := line.Key
		if line.DelayMS > 0 {
			title = fmt.Sprintf("%s, %.0f ms more per quote", line.Key, line.DelayMS)
		}

		if len(c.groups) == 0 || c.groups[len(c.groups)-1].title != title {
			c.groups = append(c.groups, group{title: title})
		}

		g := &c.groups[len(c.groups)-1]
		g.bars = append(g.bars,
			bar{fmt.Sprintf("%d, one by one", line.Callers), line.Alone.PerSecond, 0},
			bar{fmt.Sprintf("%d, aggregated", line.Callers), line.Together.PerSecond, 1})
	}

	return c
}

// Sizes of a chart, in pixels.
const (
	labelWidth, barsWidth, valueWidth = 230, 470, 80
	rowHeight, titleHeight            = 20, 34
	chartWidth                        = labelWidth + barsWidth + valueWidth
)

// svg writes the chart. Its colours follow the reader's, light or dark.
func (c chart) svg() string {
	var body strings.Builder

	least, most := c.bounds()
	y := titleHeight
	text := func(x, y int, class, what string) {
		fmt.Fprintf(&body, "<text x=\"%d\" y=\"%d\" class=\"%s\">%s</text>\n", x, y, class, html.EscapeString(what))
	}

	text(10, 22, "title", c.title+" (log. scale)")

	for _, g := range c.groups {
		text(10, y+22, "group", g.title)

		y += titleHeight

		for _, b := range g.bars {
			width := int(math.Round(barsWidth * math.Log(b.value/least) / math.Log(most/least)))

			text(labelWidth-8, y+14, "label", b.label)
			fmt.Fprintf(&body, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" class=\"s%d\"/>\n", labelWidth, y+2, max(width, 1), rowHeight-5, b.style)
			text(labelWidth+width+6, y+14, "value", number(b.value)+c.unit)

			y += rowHeight
		}
	}

	return fmt.Sprintf("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %[1]d %[2]d\" role=\"img\" aria-label=\"%s\">\n", chartWidth,
		y+10, html.EscapeString(c.title)) + style + body.String() + "</svg>\n"
}

const style = `<style>
text { font: 13px sans-serif; fill: #222 }
.title { font-weight: bold; font-size: 15px }
.group { font-weight: bold }
.label { text-anchor: end }
.s0 { fill: #9aa3ab }
.s1 { fill: #1f77b4 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .s0 { fill: #6b747c } .s1 { fill: #58a6ff } }
</style>
`

// bounds returns what the scale begins and ends with: less than the least value, so that each bar is seen, and the largest one.
func (c chart) bounds() (least, most float64) {
	least, most = math.Inf(1), 0

	for _, g := range c.groups {
		for _, b := range g.bars {
			least, most = min(least, b.value), max(most, b.value)
		}
	}

	return least / 1.3, max(most, least*1.3)
}

// number writes a value with three digits that say something.
func number(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}

	return fmt.Sprintf("%.3g", v)
}

// Package chart draws bar charts as SVG.
package chart

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Bars is a chart of horizontal bars, the shortest on top.
type Bars struct {
	Title     string
	Unit      string // behind each value
	Highlight string // label whose bar is drawn in colour
	Log       bool   // logarithmic scale

	values map[string][]float64
}

// Add adds a value. Values of one label are drawn as their median.
func (b *Bars) Add(label string, value float64) {
	if b.values == nil {
		b.values = map[string][]float64{}
	}
	b.values[label] = append(b.values[label], value)
}

// Measures in pixels.
const (
	width     = 720
	left      = 170 // labels end here
	right     = 90  // room for the value behind the longest bar
	top       = 56
	barHeight = 20
	rowHeight = 30
	bottom    = 34
)

type bar struct {
	label string
	value float64
}

// SVG returns the drawing, readable on light and dark ground.
func (b *Bars) SVG() []byte {
	bars := b.bars()
	height := top + rowHeight*len(bars) + bottom
	var out bytes.Buffer
	p := func(format string, a ...any) { fmt.Fprintf(&out, format+"\n", a...) }
	p(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" font-family="system-ui, sans-serif" font-size="13">`, width, height, width, height)
	p(`<title>%s</title>`, escape(b.Title))
	p(`<style>text{fill:#24292f}.grid{stroke:#d0d7de}.bar{fill:#8c959f}.ours{fill:#0969da}.axis{fill:#57606a;font-size:11px}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.grid{stroke:#30363d}.bar{fill:#6e7681}.ours{fill:#58a6ff}.axis{fill:#8d96a0}}</style>`)
	p(`<text x="16" y="30" font-size="16" font-weight="600">%s</text>`, escape(b.Title))
	scale := newScale(bars, b.Log)
	for _, tick := range scale.ticks {
		x := scale.x(tick)
		p(`<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, x, x, top-8, height-bottom)
		p(`<text class="axis" x="%.1f" y="%d" text-anchor="middle">%s</text>`, x, height-bottom+18, format(tick))
	}
	for i, one := range bars {
		y, class := top+i*rowHeight, "bar"
		if one.label == b.Highlight {
			class += " ours"
		}
		end := max(scale.x(one.value), left+1)
		p(`<text x="%d" y="%d" text-anchor="end">%s</text>`, left-10, y+15, escape(one.label))
		p(`<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`, class, left, y, end-left, barHeight)
		p(`<text x="%.1f" y="%d">%s</text>`, end+6, y+15, escape(format(one.value)+" "+b.Unit))
	}
	p(`</svg>`)
	return out.Bytes()
}

func (b *Bars) bars() (bars []bar) {
	for label, values := range b.values {
		bars = append(bars, bar{label, median(values)})
	}
	slices.SortFunc(bars, func(a, b bar) int {
		return cmp.Or(cmp.Compare(a.value, b.value), strings.Compare(a.label, b.label))
	})
	return bars
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// scale maps values to pixels.
type scale struct {
	log       bool
	low, high float64
	ticks     []float64
}

func newScale(bars []bar, log bool) scale {
	low, high := math.Inf(1), 0.0
	for _, b := range bars {
		low, high = min(low, b.value), max(high, b.value)
	}
	if high <= 0 {
		return scale{high: 1, ticks: []float64{0}}
	}
	if !log || low <= 0 {
		step := math.Pow(10, math.Floor(math.Log10(high)))
		if high/step < 2.5 {
			step /= 2
		}
		s := scale{high: high}
		for v := 0.0; v <= high; v += step {
			s.ticks = append(s.ticks, v)
		}
		return s
	}
	s := scale{log: true, low: math.Pow(10, math.Floor(math.Log10(low))), high: high}
	for v := s.low; v <= high; v *= 10 {
		s.ticks = append(s.ticks, v)
	}
	return s
}

func (s scale) x(v float64) float64 {
	part := v / s.high
	if s.log {
		part = math.Log(v/s.low) / math.Log(max(s.high/s.low, 1.01))
	}
	return left + part*(width-left-right)
}

// format writes thousands with a comma and at most two decimals under ten.
func format(v float64) string {
	if v < 10 && v != math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	digits := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

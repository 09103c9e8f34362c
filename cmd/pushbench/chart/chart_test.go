package chart

import (
	"encoding/xml"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func draw(t *testing.T, b *Bars) (svg string, widths []float64) {
	t.Helper()
	svg = string(b.SVG())
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("not well-formed: %v\n%s", err, svg)
		}
	}
	for _, m := range regexp.MustCompile(`<rect [^>]*width="([^"]+)"`).FindAllStringSubmatch(svg, -1) {
		w, err := strconv.ParseFloat(m[1], 64)
		if err != nil || math.IsNaN(w) || w < 1 {
			t.Fatalf("bar of width %q", m[1])
		}
		widths = append(widths, w)
	}
	return svg, widths
}

func TestBarsAreInProportion(t *testing.T) {
	b := &Bars{Title: "a < b", Unit: "B", Highlight: "x"}
	b.Add("y", 400)
	b.Add("x", 100)
	b.Add("x", 1000) // median 200
	b.Add("x", 200)
	svg, widths := draw(t, b)
	if len(widths) != 2 || math.Abs(widths[1]/widths[0]-2) > 0.01 {
		t.Errorf("widths %v of 200 and 400", widths)
	}
	for _, want := range []string{"a &lt; b", ">200 B<", ">400 B<", `class="bar ours"`} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %q in %s", want, svg)
		}
	}
}

func TestLogScale(t *testing.T) {
	b := &Bars{Log: true}
	for i, v := range []float64{100, 1000, 10_000} {
		b.Add(strconv.Itoa(i), v)
	}
	_, widths := draw(t, b)
	if math.Abs(widths[2]-2*widths[1]) > 0.5 || widths[0] > 2 {
		t.Errorf("widths %v of 10², 10³, 10⁴", widths)
	}
}

func TestOddValues(t *testing.T) {
	for _, values := range [][]float64{{}, {0}, {0, 5}, {-1, 3}, {7}, {0.001}} {
		for _, log := range []bool{false, true} {
			b := &Bars{Log: log}
			for i, v := range values {
				b.Add(strconv.Itoa(i), v)
			}
			if _, widths := draw(t, b); len(widths) != len(values) {
				t.Errorf("%v: %v", values, widths)
			}
		}
	}
}

func TestFormat(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 1.234: "1.23", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", 12.6: "13"} {
		if got := format(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}

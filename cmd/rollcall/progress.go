package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
)

// progress tells how far long work is: as a bar that moves on a terminal, as a plain line now and
// then elsewhere. It is used by one goroutine at a time.
type progress struct {
	w        io.Writer
	what     string // such as rows
	total    int64  // zero when unknown
	terminal bool
	every    time.Duration
	now      func() time.Time
	started  time.Time
	told     time.Time
	begun    bool
	before   int64 // what was done when it was looked at first

	bytes int64         // told beside the rest, zero for none
	rate  float64       // per second as the one who does the work says, zero where that is not known
	left  time.Duration // the same
}

// How often progress is told.
const (
	barEvery  = 100 * time.Millisecond
	lineEvery = 5 * time.Second
	barWidth  = 30
)

func newProgress(w io.Writer, what string, total int64) *progress {
	p := &progress{w: w, what: what, total: total, every: lineEvery, now: time.Now}
	if f, ok := w.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		p.terminal, p.every = true, barEvery
	}
	p.started = p.now()
	p.told = p.started
	return p
}

// at tells that n of the total are done, if it is time to.
func (p *progress) at(n int64) {
	if !p.begun {
		p.begun, p.before = true, n
	}
	if now := p.now(); now.Sub(p.told) >= p.every {
		p.told = now
		p.tell(n)
	}
}

// tell tells that n of the total are done.
func (p *progress) tell(n int64) {
	text := p.amount(n)
	if p.bytes > 0 {
		text += ", " + size(p.bytes)
	}
	rate, left := p.pace(n)
	if rate > 0 {
		text += fmt.Sprintf(", %s/s", p.short(int64(math.Round(rate))))
	}
	if left > 0 {
		text += fmt.Sprintf(", %s left", left.Round(time.Second))
	}
	if !p.terminal {
		fmt.Fprintln(p.w, text)
		return
	}
	bar := ""
	if p.total > 0 {
		full := int(min(n, p.total) * barWidth / p.total)
		bar = "[" + strings.Repeat("#", full) + strings.Repeat(".", barWidth-full) + "] "
	}
	fmt.Fprint(p.w, "\r\x1b[K\x1b[?7l", bar, text, "\x1b[?7h") // what a narrow terminal has no room for is cut off
}

// say tells how far the work is in words of the service, if it is time to.
func (p *progress) say(text string) {
	now := p.now()
	switch {
	case now.Sub(p.told) < p.every:
		return
	case p.terminal:
		fmt.Fprint(p.w, "\r\x1b[K\x1b[?7l", text, "\x1b[?7h")
	default:
		fmt.Fprintln(p.w, text)
	}
	p.told = now
}

// amount tells how much is done, of how much.
func (p *progress) amount(n int64) string {
	unit := " " + p.what
	if p.what == inBytes {
		unit = ""
	}
	if p.total > 0 {
		return p.short(n) + " of " + p.short(p.total) + unit
	}
	return p.short(n) + unit
}

func (p *progress) short(n int64) string {
	if p.what == inBytes {
		return size(n)
	}
	return grouped(n)
}

// pace returns how much is done in a second and how long it will take still, zero where that is not known. What the one
// who does the work says goes before what is seen of it here.
func (p *progress) pace(n int64) (rate float64, left time.Duration) {
	rate, left = p.rate, p.left
	if seconds := p.now().Sub(p.started).Seconds(); rate == 0 && seconds > 0 {
		rate = float64(n-p.before) / seconds
	}
	if left == 0 && rate > 0 && p.total > n {
		left = time.Duration(float64(p.total-n) / rate * float64(time.Second))
	}
	return rate, left
}

// inBytes is the unit of what is told in larger ones.
const inBytes = "bytes"

// size tells a number of bytes in the unit that people read it in.
func size(n int64) string {
	const step = 1000
	units := []string{"kB", "MB", "GB", "TB"}
	if n < step {
		return whole(n) + " B"
	}
	v := float64(n) / step
	for v >= step && len(units) > 1 {
		v, units = v/step, units[1:]
	}
	return fmt.Sprintf("%.1f %s", v, units[0])
}

// end takes the bar away, so that what is printed next stands alone.
func (p *progress) end() {
	if p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

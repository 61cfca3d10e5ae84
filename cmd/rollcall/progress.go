package main

import (
	"fmt"
	"io"
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
	if now := p.now(); now.Sub(p.told) >= p.every {
		p.told = now
		p.tell(n)
	}
}

func (p *progress) tell(n int64) {
	text := fmt.Sprintf("%s %s", grouped(n), p.what)
	if p.total > 0 {
		text = fmt.Sprintf("%s of %s %s", grouped(n), grouped(p.total), p.what)
	}
	if seconds := p.now().Sub(p.started).Seconds(); seconds > 0 {
		text += fmt.Sprintf(", %s/s", grouped(int64(float64(n)/seconds)))
		if p.total > n && n > 0 {
			text += fmt.Sprintf(", %s left", time.Duration(seconds*float64(p.total-n)/float64(n)*float64(time.Second)).Round(time.Second))
		}
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
	fmt.Fprint(p.w, "\r\x1b[K", bar, text)
}

// end takes the bar away, so that what is printed next stands alone.
func (p *progress) end() {
	if p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

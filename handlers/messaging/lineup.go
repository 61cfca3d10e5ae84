package messaging

import "sync"

// Precedence tells what a message waits for before it is handed out. The zero value waits for nothing.
type Precedence struct {
	// Keys: it waits for every earlier message that has one of them too.
	Keys []string
	// Group is what it belongs to, for those that wait for all of a group.
	Group string
	// Behind: it waits for every earlier message of its group, and none waits for it on that account.
	Behind bool
}

// lineup starts work in the order that its precedence asks for, and otherwise at once. The zero value is empty.
type lineup struct {
	mu     sync.Mutex
	latest map[string]*place // the last in line of each key
	groups map[string]map[*place]struct{}
}

// place is somebody's place in line.
type place struct {
	Precedence
	ahead  int      // how many it waits for
	behind []*place // who waits for it; may name one twice
	start  func(*place)
}

// enter gets in line. start is called as soon as nobody is ahead, perhaps before enter returns, with what leave is then
// to be told; it must not block.
func (l *lineup) enter(p Precedence, start func(*place)) {
	l.mu.Lock()
	in := &place{Precedence: p, start: start}
	if p.Behind {
		for other := range l.groups[p.Group] {
			l.wait(in, other)
		}
	}
	for _, key := range p.Keys {
		if other := l.latest[key]; other != nil && other != in {
			l.wait(in, other)
		}
		if l.latest == nil {
			l.latest = make(map[string]*place)
		}
		l.latest[key] = in
	}
	if p.Group != "" {
		if l.groups == nil {
			l.groups = make(map[string]map[*place]struct{})
		}
		if l.groups[p.Group] == nil {
			l.groups[p.Group] = make(map[*place]struct{})
		}
		l.groups[p.Group][in] = struct{}{}
	}
	free := in.ahead == 0
	l.mu.Unlock()
	if free {
		start(in)
	}
}

// wait makes one wait for another. l.mu is held.
func (l *lineup) wait(in, other *place) {
	in.ahead++
	other.behind = append(other.behind, in)
}

// leave lets those start who waited for this one alone.
func (l *lineup) leave(out *place) {
	l.mu.Lock()
	for _, key := range out.Keys {
		if l.latest[key] == out {
			delete(l.latest, key)
		}
	}
	if group := l.groups[out.Group]; group != nil {
		delete(group, out)
		if len(group) == 0 {
			delete(l.groups, out.Group)
		}
	}
	var free []*place
	for _, next := range out.behind {
		if next.ahead--; next.ahead == 0 {
			free = append(free, next)
		}
	}
	l.mu.Unlock()
	for _, next := range free {
		next.start(next)
	}
}

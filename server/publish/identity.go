package publish

// identify finds out whether a host is still the one that bore its name when this publisher first saw it. The server's verdict is about the machine that it has attested; whoever may write to the sink
// can have another one bear that machine's name, and would get its marks.
func (p *Publisher) identify(name string, h *host) {
	known := p.ids[name]
	if known == "" {
		p.ids[name] = h.shown.ID
		return
	}
	moved := h.shown.ID != known
	if moved && !h.moved {
		p.alarm(alarmIdentityChanged, name, h, "a name belongs to another host than before, it is not trusted: find out who changed that; if the host was re-installed, restart the publisher",
			"was", known, "is", h.shown.ID)
	}
	h.moved = moved
}

// gone forgets a host that the sink does not know any more. Whose name it was stays known if it is the name of a node: else a name could change its owner by way of nobody.
func (p *Publisher) gone(name string) {
	if h := p.hosts[name]; h.answer == nil || h.answer.Node == "" {
		delete(p.ids, name)
	}
	delete(p.hosts, name)
}

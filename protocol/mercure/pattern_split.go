package mercure

// split finds the parts of the URL that a pattern is about.
func split(tokens []token) (parts [numComponents][]token, given [numComponents]bool) {
	s := splitter{tokens: tokens, parts: &parts, given: &given}
	s.run()
	return parts, given
}

type splitter struct {
	tokens []token
	at     int
	parts  *[numComponents][]token
	given  *[numComponents]bool
}

// is reports whether the token at i is the character c, outside of groups.
func (s *splitter) is(i int, c string) bool {
	return i < len(s.tokens) && s.tokens[i].kind == tokenChar && s.tokens[i].text == c
}

// find returns the first place from i on, outside of groups, at which stop says
// so, or the end.
func (s *splitter) find(i int, stop func(i int) bool) int {
	depth := 0
	for ; i < len(s.tokens); i++ {
		switch s.tokens[i].kind {
		case tokenOpen:
			depth++
		case tokenClose:
			depth--
		}
		if depth <= 0 && stop(i) {
			return i
		}
	}
	return i
}

// query reports whether the token at i is the ? in front of a query, and no
// modifier.
func (s *splitter) query(i int) bool {
	if s.tokens[i].text != "?" || s.tokens[i].kind != tokenModifier {
		return false
	}
	if i == 0 {
		return true
	}
	switch s.tokens[i-1].kind {
	case tokenName, tokenRegexp, tokenClose, tokenAsterisk:
		return false
	}
	return true
}

func (s *splitter) take(component, end int) {
	s.parts[component], s.given[component] = s.tokens[s.at:end], true
	s.at = end
}

func (s *splitter) run() {
	colon := s.find(0, func(i int) bool { return s.is(i, ":") || s.is(i, "/") || s.is(i, "#") || s.query(i) })
	authority := false
	if s.is(colon, ":") {
		s.take(inProtocol, colon)
		s.at++
		if s.is(s.at, "/") && s.is(s.at+1, "/") {
			s.at += 2
			authority = true
		} else {
			authority = matchesSpecial(s.parts[inProtocol])
		}
	}
	if authority {
		s.authority()
	}
	end := s.find(s.at, func(i int) bool { return s.query(i) || s.is(i, "#") })
	if end > s.at || s.given[inProtocol] && !authority {
		s.take(inPath, end)
	}
	s.tail()
}

// tail reads query and fragment. What stands before them and is left out is
// empty, not anything.
func (s *splitter) tail() {
	if s.at == len(s.tokens) {
		return
	}
	if !s.given[inPath] && s.given[inProtocol] {
		s.given[inPath] = true
		s.parts[inPath] = literal("/")
	}
	if s.query(s.at) {
		s.at++
		s.take(inQuery, s.find(s.at, func(i int) bool { return s.is(i, "#") }))
	}
	if s.at < len(s.tokens) {
		s.given[inQuery] = true
		s.at++
		s.take(inHash, len(s.tokens))
	}
}

func (s *splitter) authority() {
	end := s.find(s.at, func(i int) bool { return s.is(i, "/") || s.is(i, "#") || s.query(i) })
	if at := s.find(s.at, func(i int) bool { return i >= end || s.is(i, "@") }); at < end {
		if colon := s.find(s.at, func(i int) bool { return i >= at || s.is(i, ":") }); colon < at {
			s.take(inUser, colon)
			s.at++
			s.take(inPassword, at)
		} else {
			s.take(inUser, at)
		}
		s.at++
	}
	brackets := 0
	colon := s.find(s.at, func(i int) bool {
		if i < end && s.is(i, "[") {
			brackets++
		} else if i < end && s.is(i, "]") {
			brackets--
		}
		return i >= end || brackets == 0 && s.is(i, ":")
	})
	if colon < end {
		s.take(inHost, colon)
		s.at++
		s.take(inPort, end)
		return
	}
	s.take(inHost, end)
}

// matchesSpecial reports whether a protocol is that of URLs with a host.
func matchesSpecial(tokens []token) bool {
	text := ""
	for _, t := range tokens {
		if t.kind != tokenChar && t.kind != tokenEscaped {
			return true // a pattern: most match https
		}
		text += t.text
	}
	return isSpecial(text)
}

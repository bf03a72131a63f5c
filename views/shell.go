package views

import (
	"maps"
	"slices"
	"strconv"
)

// baseStyles are the style sheets of every page; the first one sets the order
// of the layers.
var baseStyles = []string{
	"css/tokens.css", "css/base.css", "css/shell.css", "css/components.css", "css/services.css", "css/pin.css", "css/utilities.css",
}

func badgeCount(n int) string {
	if n > 99 {
		return "99+"
	}
	return strconv.Itoa(n)
}

// otherTheme is what the theme button switches to without a script. With none
// chosen, the system's theme is not known here, and dark is the likelier wish.
func (p Page) otherTheme() string {
	if p.Theme == "dark" {
		return "light"
	}
	return "dark"
}

// kept lists the parameters the pickers carry along, in a stable order.
func (s *Scope) kept() []Option {
	var list []Option
	for _, k := range slices.Sorted(maps.Keys(s.Keep)) {
		if k == "environment" || k == "range" && len(s.Ranges) > 0 {
			continue
		}
		for _, v := range s.Keep[k] {
			list = append(list, Option{k, v})
		}
	}
	return list
}

// environments lists the known ones and the chosen one, should it be unknown.
func (s *Scope) environments() []string {
	if s.All() || slices.Contains(s.Environments, s.Environment) {
		return s.Environments
	}
	return append([]string{s.Environment}, s.Environments...)
}

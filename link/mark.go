package link

import "strings"

// Mark returns the alias that says whose a link is: the instance of fairway
// (store.Store.Instance) that made it, the network or endpoint it is for, and,
// once known, the container's name.
func Mark(instance, id, container string) string {
	m := "fairway:" + instance + ":" + id
	if container != "" {
		m += ":" + container
	}
	return m
}

// Marked reports whether alias is a mark of this instance.
func Marked(alias, instance string) bool {
	return strings.HasPrefix(alias, "fairway:"+instance+":")
}

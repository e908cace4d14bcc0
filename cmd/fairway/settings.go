package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"fairway/admin"
	"fairway/option"

	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"
)

const defaultConfigFile = "/etc/fairway/fairway.yaml"

// errUsage marks what the user got wrong: exit code 2.
var errUsage = errors.New("wrong usage") //nolint:gochecknoglobals // an error value

// usageError is an errUsage with a text of its own.
type usageError struct{ text string }

func (e usageError) Error() string        { return e.text }
func (e usageError) Is(target error) bool { return target == errUsage }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// envName is the environment variable of a flag: --state-dir is FAIRWAY_STATE_DIR.
func envName(flag string) string {
	return "FAIRWAY_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// mistakes is all that is wrong with the settings.
type mistakes []error

func (m mistakes) Error() string {
	texts := make([]string, len(m))
	for i, err := range m {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (m mistakes) Is(target error) bool { return target == errUsage }

// fillSettings gives every flag of fs that the command line doesn't have the
// value of its environment variable, or else of the file, and returns where each
// has its value from, in the form of admin.Setting. The file at path may be
// missing unless it must exist.
func fillSettings(fs *pflag.FlagSet, env func(string) (string, bool), path string, mustExist bool) (origins map[string]string, err error) {
	file, err := readSettings(path, mustExist)
	if err != nil {
		return nil, err
	}
	var wrong mistakes // those of the file in its order, and others before
	at := map[error]int{}
	known := map[string]bool{}
	origins = map[string]string{}
	fs.VisitAll(func(f *pflag.Flag) {
		if isSetting(f.Name) {
			known[f.Name] = true
		}
		origin, err := fillSetting(f, env, file[f.Name])
		if err != nil {
			wrong = append(wrong, err)
			at[err] = file[f.Name].line
		}
		origins[f.Name] = origin
	})
	for _, key := range file.names() {
		if !known[key] {
			err := usagef("%s: key %q: unknown%s", file[key].place, key, nearest(key, known))
			wrong = append(wrong, err)
			at[err] = file[key].line
		}
	}
	if wrong != nil {
		slices.SortStableFunc(wrong, func(a, b error) int { return cmp.Compare(at[a], at[b]) })
		return nil, wrong
	}
	return origins, nil
}

// isSetting reports whether a flag of the daemon's may stand in its file.
func isSetting(flag string) bool { return flag != "config" && flag != "help" }

func nearest(name string, known map[string]bool) string {
	var names []string
	for k, ok := range known {
		if ok {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	if n := option.Nearest(name, names); n != "" {
		return fmt.Sprintf("; nearest is %q", n)
	}
	return ""
}

func fillSetting(f *pflag.Flag, env func(string) (string, bool), s setting) (origin string, err error) {
	if f.Changed {
		return "flag", nil
	}
	if f.Name == "help" {
		return "default", nil
	}
	// An empty variable is as good as none, but where "" means something: unit
	// files and managed plugins list variables without a value.
	if v, ok := env(envName(f.Name)); ok && (v != "" || mayBeEmpty(f)) {
		if err := f.Value.Set(v); err != nil {
			return "", usagef("environment %s=%q: %s", envName(f.Name), v, err)
		}
		return "environment " + envName(f.Name), nil
	}
	for _, v := range s.values {
		if err := f.Value.Set(v); err != nil {
			return "", usagef("%s: %s: %q: %s", s.place, f.Name, v, err)
		}
	}
	if len(s.values) > 0 {
		return s.place, nil
	}
	return "default", nil
}

func mayBeEmpty(f *pflag.Flag) bool {
	switch v := f.Value.(type) {
	case *pathValue:
		return v.empty
	case *nameValue:
		return v.empty
	case *listenValue, *urlsValue, *unicastValue, *plainValue:
		return true
	}
	return false
}

// A setting is what a file says of one key.
type setting struct {
	place  string // file:line
	line   int
	values []string
}

type settings map[string]setting

func (s settings) names() []string {
	names := make([]string, 0, len(s))
	for k := range s {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

func readSettings(path string, mustExist bool) (settings, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && !mustExist {
		return nil, nil
	}
	if err != nil {
		return nil, usageError{err.Error()}
	}
	defer f.Close()
	return parseSettings(path, f)
}

// parseSettings reads one YAML mapping of a setting's name to its value or, for
// a setting that may be repeated, a list of values.
func parseSettings(path string, r io.Reader) (settings, error) {
	var doc yaml.Node
	d := yaml.NewDecoder(r)
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil // nothing but comments
	} else if err != nil {
		return nil, usagef("%s: %s", path, err)
	}
	var more yaml.Node
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, usagef("%s: want a single document", path)
	}
	top := doc.Content[0]
	if top.Kind == yaml.ScalarNode && top.Tag == "!!null" {
		return nil, nil
	}
	if top.Kind != yaml.MappingNode {
		return nil, usagef("%s:%d: want lines of the form \"key: value\"", path, top.Line)
	}
	s := settings{}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		place := fmt.Sprintf("%s:%d", path, key.Line)
		if _, twice := s[key.Value]; twice {
			return nil, usagef("%s: key %q: given twice", place, key.Value)
		}
		values, err := scalars(value)
		if err != nil {
			return nil, usagef("%s: %s: %s", place, key.Value, err)
		}
		s[key.Value] = setting{place: place, line: key.Line, values: values}
	}
	return s, nil
}

// scalars returns the text of a value, or of each value of a list.
func scalars(n *yaml.Node) ([]string, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return nil, nil // "key:" alone leaves the default
		}
		return []string{n.Value}, nil
	case yaml.SequenceNode:
		var values []string
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode {
				return nil, errors.New("want a list of plain values")
			}
			values = append(values, item.Value)
		}
		return values, nil
	}
	return nil, errors.New("want a plain value or a list of them")
}

// shownSettings returns the values of settings that have one word for it, by
// name.
func shownSettings(all []admin.Setting) map[string]string {
	out := map[string]string{}
	for _, s := range all {
		if s.Name != "default-address-pool" {
			out[s.Name] = s.Value
		}
	}
	return out
}

// strangeVariables returns the environment variables that look like settings
// but are none: mistyped ones.
func strangeVariables(fs *pflag.FlagSet, environ []string) (remarks []string) {
	known := map[string]bool{}
	fs.VisitAll(func(f *pflag.Flag) { known[envName(f.Name)] = f.Name != "help" })
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "FAIRWAY_") && !known[name] {
			remarks = append(remarks, fmt.Sprintf("environment %s: unknown%s", name, nearest(name, known)))
		}
	}
	slices.Sort(remarks)
	return remarks
}

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

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

// fillSettings gives every flag of fs that the command line doesn't have the
// value of its environment variable, or else of the file. The file at path may
// be missing unless it must exist.
func fillSettings(fs *pflag.FlagSet, env func(string) (string, bool), path string, mustExist bool) error {
	file, err := readSettings(path, mustExist)
	if err != nil {
		return err
	}
	var errs []error
	known := map[string]bool{}
	fs.VisitAll(func(f *pflag.Flag) {
		known[f.Name] = f.Name != "config" && f.Name != "help"
		if err := fillSetting(f, env, file[f.Name]); err != nil {
			errs = append(errs, err)
		}
	})
	for _, key := range file.names() {
		if !known[key] {
			errs = append(errs, usagef("%s: key %q: unknown%s", file[key].place, key, nearest(key, known)))
		}
	}
	return errors.Join(errs...)
}

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

func fillSetting(f *pflag.Flag, env func(string) (string, bool), s setting) error {
	if f.Changed || f.Name == "help" {
		return nil
	}
	// An empty variable is as good as none, but where "" means something: unit
	// files and managed plugins list variables without a value.
	if v, ok := env(envName(f.Name)); ok && (v != "" || mayBeEmpty(f)) {
		if err := f.Value.Set(v); err != nil {
			return usagef("environment %s=%q: %s", envName(f.Name), v, err)
		}
		return nil
	}
	for _, v := range s.values {
		if err := f.Value.Set(v); err != nil {
			return usagef("%s: %s: %q: %s", s.place, f.Name, v, err)
		}
	}
	return nil
}

func mayBeEmpty(f *pflag.Flag) bool {
	v, ok := f.Value.(*pathValue)
	return ok && v.empty
}

// A setting is what a file says of one key.
type setting struct {
	place  string // file:line
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
		s[key.Value] = setting{place: place, values: values}
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

// shownSettings returns the values of the flags that have one word for it, by
// name.
func shownSettings(fs *pflag.FlagSet) map[string]string {
	out := map[string]string{}
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Name != "config" && f.Name != "help" && f.Name != "default-address-pool" {
			out[f.Name] = f.Value.String()
		}
	})
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

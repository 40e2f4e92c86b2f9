package main

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/cmd/internal/manual"
	"github.com/trustpool/trustpool/server"
)

// manuals is where the packages' man pages and completions are to be written.
var manuals = flag.String("manuals", "", "write the man pages and completions into this `folder`")

const sampleFile = "../../packaging/trustpool-server/server.yaml"

// TestManual writes what packages ship.
func TestManual(t *testing.T) {
	t.Parallel()

	dir := *manuals
	if dir == "" {
		dir = t.TempDir()
	}
	if err := manual.Write(dir, 8, rootCommand()); err != nil {
		t.Fatal(err)
	}
	date := time.Now()
	if seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		date = time.Unix(seconds, 0)
	}
	for path, config := range configs() {
		page := manual.ConfigPage(path, read(t, config.sample), date)
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)+".5"), []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := manual.Check(dir, 8, rootCommand()); err != nil {
		t.Error(err)
	}
}

// config is a configuration file: its commented sample, and its defaults.
type config struct {
	sample   string
	defaults any
}

// configs are those of all commands, by where they are.
func configs() map[string]config {
	all := map[string]config{"/etc/trustpool-server/server.yaml": {sampleFile, server.DefaultConfig()}}
	for _, s := range sinks() {
		all[s.path()] = config{"../../packaging/trustpool-server/" + filepath.Base(s.path()), reflect.ValueOf(s.config()).Elem().Interface()}
	}
	return all
}

func TestTheSampleExplainsEveryKeyWithItsDefaultAndNoOther(t *testing.T) {
	t.Parallel()

	for path, config := range configs() {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			compareSample(t, config)
		})
	}
}

func compareSample(t *testing.T, c config) {
	t.Helper()

	defaults := keys(reflect.ValueOf(c.defaults), "")
	explained := make(map[string]string)
	for _, key := range manual.ParseSample(read(t, c.sample)).Keys {
		for i, path := range key.Paths {
			explained[path] = key.Defaults[i]
			isAbove := func(other string) bool { return strings.HasPrefix(other, path+".") }
			if len(key.Text) == 0 && !slices.ContainsFunc(slices.Collect(mapKeys(defaults)), isAbove) {
				t.Errorf("%s: not a word about it", path)
			}
		}
	}
	for path, want := range defaults {
		got, there := explained[path]
		if !there {
			t.Errorf("%s is not in the sample", path)
		}
		if unquoted := strings.Trim(got, `"`); got != "" && !sameValue(unquoted, want) {
			t.Errorf("%s: the sample's default is %s, the config's %s", path, got, want)
		}
	}
	for path := range explained {
		if _, there := defaults[path]; !there {
			t.Errorf("the sample has %s, which the config has not", path)
		}
	}
}

// sameValue compares what a sample says with what the config has: 1m is 1m0s.
func sameValue(sample, config string) bool {
	a, errA := time.ParseDuration(sample)
	b, errB := time.ParseDuration(config)
	return sample == config || errA == nil && errB == nil && a == b || sample == "[]" && config == ""
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}

// keys lists the paths of all keys of a config, as manual.Key has them, with their values; those of lists and of what has others below are empty.
func keys(config reflect.Value, above string) map[string]string {
	all := make(map[string]string)
	for field, value := range config.Fields() {
		if field.Tag.Get("yaml") == ",inline" {
			below(all, keys(value, above))
			continue
		}
		path := strings.TrimPrefix(above+"."+field.Tag.Get("yaml"), ".")
		all[path] = ""
		switch {
		case value.Kind() == reflect.Struct:
			below(all, keys(value, path))
		case value.Kind() == reflect.Slice && value.Type().Elem().Kind() == reflect.Struct:
			below(all, keys(reflect.New(value.Type().Elem()).Elem(), path+"[]"))
		case value.Kind() == reflect.Slice:
		case strings.HasSuffix(above, "[]"): // an item has no defaults
		default:
			all[path] = valueText(value)
		}
	}
	return all
}

func below(all, more map[string]string) {
	for path, value := range more {
		all[path] = value
	}
}

func valueText(value reflect.Value) string {
	if d, ok := value.Interface().(time.Duration); ok {
		return d.String()
	}
	switch value.Kind() {
	case reflect.String:
		return value.String()
	case reflect.Bool:
		return strconv.FormatBool(value.Bool())
	}
	if value.Kind() == reflect.Bool {
		return strconv.FormatBool(value.Bool())
	}
	return strconv.FormatInt(value.Int(), 10)
}

func read(t *testing.T, path string) string {
	t.Helper()

	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

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

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/cmd/internal/manual"
)

// manuals is where the packages' man pages and completions are to be written.
var manuals = flag.String("manuals", "", "write the man pages and completions into this `folder`")

const sampleFile = "../../packaging/trustpool-agent/agent.yaml"

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

	sample, err := os.ReadFile(sampleFile)
	if err != nil {
		t.Fatal(err)
	}

	date := time.Now()
	if seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		date = time.Unix(seconds, 0)
	}

	page := manual.ConfigPage("/etc/trustpool-agent/agent.yaml", string(sample), date)
	if err := os.WriteFile(filepath.Join(dir, "agent.yaml.5"), []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}

	if err := manual.Check(dir, 8, rootCommand()); err != nil {
		t.Error(err)
	}
}

// elsewhere are keys that the sample explains at another place.
func elsewhere() []string {
	limits := []string{"pcrs", "rate", "burst", "concurrent"}
	for i := range limits {
		limits[i] = "listen.unix_clients[]." + limits[i]
	}

	return limits
}

func TestTheSampleExplainsEveryKeyAndNoOther(t *testing.T) {
	t.Parallel()

	text, err := os.ReadFile(sampleFile)
	if err != nil {
		t.Fatal(err)
	}

	var explained, silent []string

	for _, key := range manual.ParseSample(string(text)).Keys {
		explained = append(explained, key.Paths...)

		if len(key.Text) == 0 {
			silent = append(silent, key.Paths...)
		}
	}

	for _, path := range silent {
		isAbove := func(other string) bool { return strings.HasPrefix(other, path+".") }
		if !slices.ContainsFunc(explained, isAbove) {
			t.Errorf("%s: not a word about it", path)
		}
	}

	known := append(keys(reflect.TypeFor[agent.Config](), ""), elsewhere()...)
	for _, path := range known {
		if !slices.Contains(explained, path) && !slices.Contains(elsewhere(), path) {
			t.Errorf("%s is not in the sample", path)
		}
	}

	for _, path := range explained {
		if !slices.Contains(known, path) {
			t.Errorf("the sample has %s, which the config has not", path)
		}
	}
}

// keys lists the paths of all keys of a config, as manual.Key has them.
func keys(config reflect.Type, above string) (paths []string) {
	for field := range config.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		path := strings.TrimPrefix(above+"."+name, ".")

		if options == "inline" {
			path = above
		} else if name == "" {
			continue
		} else {
			paths = append(paths, path)
		}

		below := field.Type
		if below.Kind() == reflect.Slice {
			below, path = below.Elem(), path+"[]"
		}

		if below.Kind() == reflect.Struct {
			paths = append(paths, keys(below, path)...)
		}
	}

	return paths
}

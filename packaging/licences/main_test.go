package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// apache is the text of our own licence.
func apache(t *testing.T) string {
	t.Helper()

	text, err := os.ReadFile("../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}

	return string(text)
}

// linked writes a module with these files, and returns the line of a package in its folder a/b.
func linked(t *testing.T, name string, files map[string]string) string {
	t.Helper()

	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}

	for file, text := range files {
		if err := os.WriteFile(filepath.Join(root, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	return strings.Join([]string{name, "v1.2.3", root, filepath.Join(root, "a", "b")}, "\t") + "\n"
}

const other = "https://creativecommons.org/licenses/by-nc/4.0\n"

func TestOnlyKnownAndAllowedLicencesPass(t *testing.T) {
	t.Parallel()

	ours := apache(t)
	for name, c := range map[string]struct {
		files map[string]string
		want  string // empty: it passes
	}{
		"an allowed one":                      {map[string]string{"LICENSE": ours}, ""},
		"by another name":                     {map[string]string{"licence.md": ours}, ""},
		"with a notice":                       {map[string]string{"LICENSE": ours, "NOTICE": "made by somebody"}, ""},
		"in the package's own folder alone":   {map[string]string{"a/b/COPYING": ours}, ""},
		"none":                                {nil, "has no licence"},
		"a notice alone":                      {map[string]string{"NOTICE": ours}, "has no licence"},
		"one of a package that is not linked": {map[string]string{"a/LICENSE.go": ours}, "has no licence"},
		"one that is not allowed":             {map[string]string{"LICENSE": other}, "under CC-BY-NC-4.0"},
		"one that is not allowed, beside":     {map[string]string{"LICENSE": ours, "LICENSE-2": other}, "under CC-BY-NC-4.0"},
		"one that is not allowed, above":      {map[string]string{"a/b/LICENSE": ours, "a/LICENSE": other}, "under CC-BY-NC-4.0"},
		"both in one file":                    {map[string]string{"LICENSE": ours + other}, "under CC-BY-NC-4.0"},
		"words that nobody knows":             {map[string]string{"LICENSE": "You may use this on Sundays."}, "not understood"},
		"words that nobody knows, beside":     {map[string]string{"LICENSE": ours, "COPYING": "You may use this on Sundays."}, "not understood"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			err := run(strings.NewReader(linked(t, "example.com/m", c.files)), new(bytes.Buffer))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestEachTextIsWrittenOnceWithAllThatHoldIt(t *testing.T) {
	t.Parallel()

	ours := apache(t)
	packages := linked(t, "example.com/second", map[string]string{"LICENSE": ours, "a/NOTICE": "made by somebody"}) + linked(t, "example.com/first", map[string]string{"LICENSE": "\n" + ours})

	var notices bytes.Buffer
	if err := run(strings.NewReader(packages), &notices); err != nil {
		t.Fatal(err)
	}

	for part, want := range map[string]int{
		strings.TrimSpace(ours): 1, "made by somebody": 1, "\nexample.com/first v1.2.3, LICENSE\nexample.com/second v1.2.3, LICENSE\n": 1, "\nexample.com/second v1.2.3, a/NOTICE\n": 1,
		"  example.com/first v1.2.3\n  example.com/second v1.2.3\n": 1, t.TempDir()[:5]: 0,
	} {
		if got := strings.Count(notices.String(), part); got != want {
			t.Errorf("%d times, want %d: %.100q", got, want, part)
		}
	}
}

func TestAListThatIsNoneFails(t *testing.T) {
	t.Parallel()

	for name, packages := range map[string]string{
		"an empty one": "", "another format": "example.com/m v1.2.3\n", "no such folder": "example.com/m\tv1.2.3\t/nowhere\t/nowhere\n",
		"a package of another module": "example.com/m\tv1.2.3\t/nowhere\t/elsewhere\n",
	} {
		if err := run(strings.NewReader(packages), new(bytes.Buffer)); err == nil {
			t.Errorf("%s passes", name)
		}
	}
}

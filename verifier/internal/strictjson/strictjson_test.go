package strictjson_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/verifier/internal/strictjson"
)

func TestEveryKindOfValueIsRead(t *testing.T) {
	t.Parallel()
	o, err := strictjson.Decode([]byte(`{"s":"x","n":7,"l":["a","b"],"i":[1,2],"o":[{"k":"v"}],"t":{"A b":"c"},"one":{"k":"w"},"yes":true}`), 1000)
	if err != nil {
		t.Fatal(err)
	}
	inner := o.Objects("o")
	if len(inner) != 1 || inner[0].String("k") != "v" {
		t.Errorf("objects are %+v", inner)
	}
	if one := o.Object("one"); one == nil || one.String("k") != "w" {
		t.Errorf("the object is %+v", one)
	}
	if !o.OptionalBool("yes") || o.OptionalBool("no") {
		t.Error("true or false is read wrongly")
	}
	if o.String("s") != "x" || o.Int("n", 7) != 7 || o.OptionalString("no") != "" || o.Has("no") || !o.Has("s") {
		t.Error("a text or number is read wrongly")
	}
	if diff := cmp.Diff([]any{[]string{"a", "b"}, []int{1, 2}, map[string]string{"A b": "c"}}, []any{o.Strings("l"), o.Ints("i", 2), o.Texts("t")}); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	o.Done()
	if err := o.Err(); err != nil {
		t.Error(err)
	}
}

func TestProblemsAreToldAllAtOnceWithTheirPath(t *testing.T) {
	t.Parallel()
	o, err := strictjson.Decode([]byte(`{"s":1,"e":"","n":-1,"f":1.5,"l":"x","i":[99],"o":[3],"t":{"a":1},"b":1,"a":1,"a":2,"S":0,"x\u001b[31m":0,"d":[{"k":{"z":1,"z":1}}]}`), 1000)
	if err != nil {
		t.Fatal(err)
	}
	o.String("s")
	o.String("e")
	o.String("missing")
	o.Int("n", 5)
	o.Int("f", 5)
	o.Int("gone", 5)
	o.Strings("l")
	o.Ints("i", 5)
	o.Objects("o")
	o.Texts("t")
	o.Objects("d")
	if o.Object("n") != nil || o.Object("nowhere") != nil || o.OptionalBool("b") {
		t.Error("something was read where nothing is")
	}
	o.Done()

	want := []string{
		`a: stands twice, keep one`,
		`d[0].k.z: stands twice, keep one`,
		`s: is no text, write it in quotation marks`,
		`e: is empty, write a text`,
		`missing: missing, write a text`,
		`n: is not a number from 0 to 5`,
		`f: is not a number from 0 to 5`,
		`gone: missing, write a number from 0 to 5`,
		`l: is no list, write [...]`,
		`i[0]: is not a number from 0 to 5`,
		`o[0]: is no object, write {...}`,
		`t.a: is no text, write it in quotation marks`,
		`n: is no object, write {...}`,
		`nowhere: is no object, write {...}`,
		`b: is neither true nor false`,
		`S: unknown key, remove it`,
		`a: unknown key, remove it`,
		`"x\x1b[31m": unknown key, remove it`,
	}
	if diff := cmp.Diff(want, strings.Split(o.Err().Error(), "\n")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestWhatIsNoJSONObjectIsRefused(t *testing.T) {
	t.Parallel()
	for rule, text := range map[string]string{
		"nothing":              "",
		"list":                 "[]",
		"two objects":          "{}{}",
		"text after the end":   "{} x",
		"broken off":           `{"a":[1,`,
		"not UTF-8":            "{\"a\":\"\xff\"}",
		"deeper than a file":   strings.Repeat(`{"a":`, 10) + "1" + strings.Repeat("}", 10),
		"larger than allowed":  `{"a":"` + strings.Repeat("x", 1000) + `"}`,
		"comma before the end": `{"a":1,}`,
	} {
		if _, err := strictjson.Decode([]byte(text), 1000); err == nil {
			t.Errorf("%s is taken", rule)
		}
	}
}

func TestProblemsAreBounded(t *testing.T) {
	t.Parallel()
	o, err := strictjson.Decode([]byte(`{"l":[`+strings.Repeat("1,", 1000)+`1]}`), 10000)
	if err != nil {
		t.Fatal(err)
	}
	o.Strings("l")
	if lines := strings.Split(o.Err().Error(), "\n"); len(lines) != 51 || lines[50] != "and 951 problems more" {
		t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1])
	}
}

// FuzzDecode: no text stops the reading of any type.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"s":"x","n":7,"l":["a","b"],"o":[{"k":"v","k":"w"}],"t":{"A":"c"}}`))
	f.Add([]byte(`{"l":[[[[[[[[[1]]]]]]]]]}`))
	f.Add([]byte(`{"s":"\ud800"}`))
	f.Fuzz(func(_ *testing.T, text []byte) {
		o, err := strictjson.Decode(text, 1<<16)
		if err != nil {
			return
		}
		for _, key := range []string{"s", "n", "l", "o", "t"} {
			o.String(key)
			o.Int(key, 10)
			o.Strings(key)
			o.Ints(key, 10)
			o.Objects(key)
			o.Texts(key)
		}
		o.Done()
		_ = o.Err()
	})
}

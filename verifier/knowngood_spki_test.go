package verifier_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/verifier"
)

func TestAPinOfAKeyAloneIsOneKeyAndNothingElse(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	key := spkiOf(t, f.public)
	text := base64.StdEncoding.EncodeToString
	for rule, tc := range map[string]struct{ pin, want string }{
		"a key":                  {fmt.Sprintf(`"spki": "%s"`, text(key)), ""},
		"beside a public area":   {fmt.Sprintf(`"spki": "%s", "public": "%s"`, text(key), text(f.public)), "write either name and public or spki"},
		"beside a Name":          {fmt.Sprintf(`"spki": "%s", "name": "000b"`, text(key)), "write either name and public or spki"},
		"no base64":              {`"spki": "!"`, "spki: is not base64"},
		"empty":                  {`"spki": ""`, "spki: "},
		"bytes behind it":        {fmt.Sprintf(`"spki": "%s"`, text(append(key, 0))), "spki: is not a SubjectPublicKeyInfo"},
		"a public area":          {fmt.Sprintf(`"spki": "%s"`, text(f.public)), "spki: is not a SubjectPublicKeyInfo"},
		"an Ed25519 key":         {`"spki": "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="`, "spki: is of no use"},
		"neither key nor public": {`"name": "00"`, "public: "},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			_, err := verifier.ParseKnownGood(fmt.Appendf(nil, `{"format":"trustpool-known-good/1","ak":[{%s, "ek_binding": "first_use"}],"pcrs":[]}`, tc.pin))
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error is %v, want %q", err, tc.want)
			}
		})
	}
}

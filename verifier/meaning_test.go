package verifier_test

import (
	"testing"

	"github.com/trustpool/trustpool/verifier"
)

func TestEveryCheckHasAMeaningOfItsOwn(t *testing.T) {
	t.Parallel()

	result := verifier.Verify(verifier.Evidence{}, verifier.Policy{})
	enrollment := verifier.Enroll(verifier.Identity{}, verifier.EnrollPolicy{})
	if len(result.Checks) == 0 || len(enrollment.Checks) == 0 {
		t.Fatal("no checks")
	}
	for _, checks := range [][]verifier.Check{result.Checks, enrollment.Checks} {
		meant := make(map[string]verifier.CheckName)
		for _, check := range checks {
			words := check.Name.Meaning()
			if words == "" {
				t.Errorf("%s means nothing", check.Name)
			}
			if other, isMeant := meant[words]; isMeant {
				t.Errorf("%s and %s mean the same: %s", other, check.Name, words)
			}
			meant[words] = check.Name
		}
	}
	if words := verifier.CheckName("other").Meaning(); words != "" {
		t.Errorf("a check that is none means %s", words)
	}
}

func TestEveryLevelOfBindingHasAMeaning(t *testing.T) {
	t.Parallel()

	for _, binding := range []verifier.EKBinding{verifier.BindingInventory, verifier.BindingChain, verifier.BindingFirstUse, verifier.BindingAKIssuer} {
		if binding.Meaning() == "" {
			t.Errorf("%s means nothing", binding)
		}
	}
	if words := verifier.EKBinding("other").Meaning(); words != "" {
		t.Errorf("a level that is none means %s", words)
	}
}

package agent

import (
	"os"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// The sample says that what it has in comments are the defaults.
func TestTheSampleTellsTheRealDefaults(t *testing.T) {
	t.Parallel()

	sample, err := os.ReadFile("../packaging/trustpool-agent/agent.yaml")
	if err != nil {
		t.Fatal(err)
	}

	decode := func(text []byte) Config {
		config := DefaultConfig()
		if err := yaml.Unmarshal(text, &config); err != nil {
			t.Fatal(err)
		}

		// Where nothing is written, these are the defaults, which are filled in where they are used.
		config.Listen = config.Listen.bounded()
		for i, rule := range config.Clients {
			l := rule.limits()
			config.Clients[i].Limits = Limits{PCRs: rule.PCRs, Rate: l.rate, Burst: l.burst, Concurrent: l.concurrent}
		}

		return config
	}

	commented := regexp.MustCompile(`(?m)^( *)# ([a-z_]+: .+)$`)
	if len(commented.FindAll(sample, -1)) < 15 {
		t.Fatal("the sample has hardly any defaults")
	}

	asIs, written := decode(sample), decode(commented.ReplaceAll(sample, []byte("$1$2")))
	if len(written.Logs.Files) == 0 {
		written.Logs.Files = nil // an empty list is no list
	}

	if diff := cmp.Diff(asIs, written, cmp.AllowUnexported(UnixRule{})); diff != "" {
		t.Errorf("the defaults (-) are not what the sample says (+):\n%s", diff)
	}
}

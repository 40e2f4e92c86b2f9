package publish_test

import (
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/publish"
)

// placementFile is a configuration with nothing wrong in it.
func placementFile() *publish.PlacementFile {
	f := publish.DefaultPlacementFile()
	f.Server.URL = "https://attestation.example:8443"
	f.Server.TokenFile = "/etc/trustpool-server/publish.token"
	f.Placement.Cloud = "trustpool"

	return f
}

func TestPlacementConfigurationSaysWhatIsWrong(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		change func(f *publish.PlacementFile)
		want   string
	}{
		"nothing":                                          {func(*publish.PlacementFile) {}, ""},
		"no cloud":                                         {func(f *publish.PlacementFile) { f.Placement.Cloud = "" }, "placement.cloud: missing"},
		"no clouds file":                                   {func(f *publish.PlacementFile) { f.Placement.CloudsFile = "" }, "placement.clouds_file: missing"},
		"a clouds file of somewhere":                       {func(f *publish.PlacementFile) { f.Placement.CloudsFile = "clouds.yaml" }, "placement.clouds_file: "},
		"a credential":                                     {func(f *publish.PlacementFile) { f.Placement.CloudsFile = "credential:clouds" }, ""},
		"a trait that is not ours":                         {mark("HW_CPU_X86_VMX"), "marks[0].name: "},
		"a trait that is only CUSTOM_":                     {mark("CUSTOM_"), "marks[0].name: "},
		"a trait in lower case":                            {mark("CUSTOM_trusted"), "marks[0].name: "},
		"a trait with a hyphen":                            {mark("CUSTOM_TRUSTED-POOL"), "marks[0].name: "},
		"a trait with another alphabet":                    {mark("CUSTOM_ÄÖÜ"), "marks[0].name: "},
		"a trait of 255 characters":                        {mark("CUSTOM_" + strings.Repeat("A", 248)), ""},
		"a trait of 256 characters":                        {mark("CUSTOM_" + strings.Repeat("A", 249)), "marks[0].name: "},
		"guests that have to leave":                        {func(f *publish.PlacementFile) { f.Bars.NoGuests = publish.Untrusted }, "bars.no_guests: "},
		"an endpoint without a scheme":                     {func(f *publish.PlacementFile) { f.Placement.Endpoint = "placement.example:8778" }, "placement.endpoint: "},
		"an endpoint in the clear":                         {func(f *publish.PlacementFile) { f.Placement.Endpoint = "http://10.0.0.1:8778" }, "placement.endpoint: \"http://10.0.0.1:8778\" is not encrypted"},
		"a compute endpoint in the clear":                  {func(f *publish.PlacementFile) { f.Placement.ComputeEndpoint = "http://nova:8774/v2.1" }, "placement.compute_endpoint: "},
		"an endpoint on this machine":                      {func(f *publish.PlacementFile) { f.Placement.Endpoint = "http://[::1]:8778" }, ""},
		"an endpoint by a name that may be this machine's": {func(f *publish.PlacementFile) { f.Placement.Endpoint = "http://localhost:8778" }, "is not encrypted"},
		"an endpoint in the clear, knowingly": {func(f *publish.PlacementFile) {
			f.Placement.Endpoint, f.Placement.AllowPlaintext = "http://10.0.0.1:8778", true
		}, ""},
		"no time for an answer":           {func(f *publish.PlacementFile) { f.Placement.Timeout = 0 }, "placement.timeout: "},
		"an hour for an answer":           {func(f *publish.PlacementFile) { f.Placement.Timeout = time.Hour }, "placement.timeout: "},
		"no authentication, no endpoint":  {func(f *publish.PlacementFile) { f.Placement.AllowNoAuthentication = true }, "placement.endpoint: missing"},
		"no authentication, bars no Nova": {noAuthentication(publish.Untrusted), "placement.compute_endpoint: missing"},
		"no authentication":               {noAuthentication(publish.Never), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			f := placementFile()
			c.change(f)

			err := f.Validate()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("Validate() = %v, want %q", err, c.want)
			}
		})
	}
}

func mark(name string) func(*publish.PlacementFile) {
	return func(f *publish.PlacementFile) { f.Marks[0].Name = name }
}

func noAuthentication(bars publish.BarPolicy) func(*publish.PlacementFile) {
	return func(f *publish.PlacementFile) {
		f.Placement = publish.PlacementConfig{AllowNoAuthentication: true, Endpoint: "http://127.0.0.1:8778", Timeout: time.Second}
		f.Bars.NoNewGuests = bars
	}
}

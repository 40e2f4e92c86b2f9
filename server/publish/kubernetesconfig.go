package publish

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
)

// KubernetesFile is the configuration of the publisher for Kubernetes, /etc/trustpool-server/publish-kubernetes.yaml.
type KubernetesFile struct {
	Config     `yaml:",inline"`
	Kubernetes KubernetesConfig `yaml:"kubernetes"`
}

// KubernetesConfig says where a Kubernetes cluster is, as whom trustpool calls it, and what it may taint. Instead of a path, credential:NAME means what systemd's LoadCredential=NAME:... gave to the unit.
type KubernetesConfig struct {
	// URL is the API server, https://HOST:6443. Default: that of the cluster in which the publisher runs as a pod; CA and TokenFile then default to the pod's service account.
	URL string `yaml:"url"`
	// CA holds the certificates (PEM) of the authorities that sign the API server's. Default: those of the system.
	CA string `yaml:"ca"`
	// TokenFile holds a service account's token. It is read for each request, because such tokens are replaced every hour.
	TokenFile string `yaml:"token_file"`
	// Certificate is a client certificate (PEM), Key its private key (PEM), for an account without a token. They are read again for each connection.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	// Taint is the key of the taint that bars a node. Default: trustpool/untrusted.
	Taint string `yaml:"taint"`
	// TaintNodes selects by their labels the nodes that may be tainted and freed, in the form that kubectl get nodes -l takes: KEY, !KEY, KEY=VALUE and KEY!=VALUE, with commas between. The taints of other
	// nodes are left alone; labels are written on all. Default: !node-role.kubernetes.io/control-plane.
	TaintNodes string `yaml:"taint_nodes"`
	// AllowLabelsThatNodesCanSet lets marks and TaintNodes be labels that a node's own credential can change, so that a compromised node can mark itself as trusted or escape its taint. Default: false:
	// marks have to begin with node-restriction.kubernetes.io/, and TaintNodes has to name keys with that or node-role.kubernetes.io/.
	AllowLabelsThatNodesCanSet bool `yaml:"allow_labels_that_nodes_can_set"`
}

// Where the labels are that a node can't change by itself (Kubernetes, "Using Node Authorization" and admission plugin NodeRestriction).
const (
	restrictedPrefix = "node-restriction.kubernetes.io/"
	rolePrefix       = "node-role.kubernetes.io/"
)

// serviceAccount is where a pod finds its own account.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/"

// DefaultKubernetesFile returns the defaults that a file is read over.
func DefaultKubernetesFile() *KubernetesFile {
	return &KubernetesFile{
		Config:     DefaultConfig(restrictedPrefix+"trustpool-trusted", "127.0.0.1:9447"),
		Kubernetes: KubernetesConfig{Taint: "trustpool/untrusted", TaintNodes: "!" + rolePrefix + "control-plane"},
	}
}

// Validate implements File.
func (f *KubernetesFile) Validate() error {
	var p problems

	for i, mark := range f.Marks {
		f.Kubernetes.checkMark(&p, fmt.Sprintf("marks[%d].name", i), mark.Name)
	}

	f.Kubernetes.validate(&p)

	return errors.Join(append(p, f.Config.Validate())...)
}

// barred: are there nodes that may have to be tainted?
func (f *KubernetesFile) barred() bool {
	return f.Bars.NoNewGuests != Never || f.Bars.NoGuests != Never
}

func (c KubernetesConfig) validate(p *problems) {
	if c.URL != "" && !isServerURL(c.URL) {
		p.add("kubernetes.url", "%q is not the address of an API server; write https://HOST:6443", c.URL)
	}

	checkFile(p, "kubernetes.ca", c.CA)
	checkFile(p, "kubernetes.token_file", c.TokenFile)
	checkFile(p, "kubernetes.certificate", c.Certificate)
	checkFile(p, "kubernetes.key", c.Key)

	if (c.Certificate == "") != (c.Key == "") {
		p.add("kubernetes.certificate", "is of use together with kubernetes.key only; write both or none")
	}

	if c.Certificate != "" && c.TokenFile != "" {
		p.add("kubernetes.token_file", "there is a certificate too, and an account has one of them; write one")
	}

	if c.URL != "" && c.Certificate == "" && c.TokenFile == "" {
		p.add("kubernetes.token_file", "missing; write the path of a file with a service account's token, or certificate and key")
	}

	if !isLabelKey(c.Taint) {
		p.add("kubernetes.taint", "%q can't be a taint's key; write trustpool/untrusted", c.Taint)
	}

	c.checkSelector(p)
}

func (c KubernetesConfig) checkMark(p *problems, key, mark string) {
	switch {
	case !isLabelKey(mark):
		p.add(key, "%q can't be a label's key; write %strustpool-trusted", mark, restrictedPrefix)
	case !c.AllowLabelsThatNodesCanSet && !isRestricted(mark):
		p.add(key, "%q is a label that a compromised node could give to itself; write one that begins with %s", mark, restrictedPrefix)
	}
}

func (c KubernetesConfig) checkSelector(p *problems) {
	nodes, err := parseSelector(c.TaintNodes)
	if err != nil {
		p.add("kubernetes.taint_nodes", "%v", err)
	}

	for _, r := range nodes {
		if !c.AllowLabelsThatNodesCanSet && !isRestricted(r.key) && !strings.HasPrefix(r.key, rolePrefix) {
			p.add("kubernetes.taint_nodes", "%q is a label by which a compromised node could escape its taint; write labels that begin with %s or %s", r.key, restrictedPrefix, rolePrefix)
		}
	}
}

// isRestricted: of what begins so, and of what has a domain before it, NodeRestriction keeps a node's own credential away.
func isRestricted(key string) bool {
	prefix, _, ok := strings.Cut(key, "/")

	return ok && (prefix+"/" == restrictedPrefix || strings.HasSuffix(prefix+"/", "."+restrictedPrefix))
}

// inCluster fills in what a pod finds in its environment, if no server is named.
func (c KubernetesConfig) inCluster(host, port string) (KubernetesConfig, error) {
	if c.URL != "" {
		return c, nil
	}

	if host == "" || port == "" {
		return c, errors.New("kubernetes.url: missing, and this is not a pod (KUBERNETES_SERVICE_HOST is not set); write https://HOST:6443")
	}

	c.URL = "https://" + net.JoinHostPort(host, port)

	if c.CA == "" {
		c.CA = serviceAccount + "ca.crt"
	}

	if c.TokenFile == "" && c.Certificate == "" {
		c.TokenFile = serviceAccount + "token"
	}

	return c, nil
}

func isServerURL(text string) bool {
	u, err := url.Parse(text)

	return err == nil && u.Scheme == "https" && u.Hostname() != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

// requirement is one part of a selector: a node has the label, or has it with this value, or not.
type requirement struct {
	key, value string
	valued     bool
	not        bool
}

// parseSelector takes what Kubernetes calls equality-based selectors, and those by a key alone ("Labels and Selectors"). An empty one selects all nodes.
func parseSelector(text string) ([]requirement, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}

	var all []requirement

	for part := range strings.SplitSeq(text, ",") {
		r, ok := parseRequirement(strings.TrimSpace(part))
		if !ok {
			return nil, fmt.Errorf("%q is not KEY, !KEY, KEY=VALUE or KEY!=VALUE; write e.g. !%scontrol-plane", part, rolePrefix)
		}

		all = append(all, r)
	}

	return all, nil
}

func parseRequirement(text string) (requirement, bool) {
	var r requirement

	key, value, valued := strings.Cut(text, "=")
	if valued {
		value = strings.TrimPrefix(value, "=") // == is the same
		key, r.not = strings.CutSuffix(key, "!")
	} else {
		key, r.not = strings.CutPrefix(key, "!")
	}

	r.key, r.value, r.valued = strings.TrimSpace(key), strings.TrimSpace(value), valued

	return r, isLabelKey(r.key) && isLabelValue(r.value)
}

func selects(all []requirement, labels map[string]string) bool {
	for _, r := range all {
		value, has := labels[r.key]
		if r.valued {
			has = has && value == r.value
		}

		if has == r.not {
			return false
		}
	}

	return true
}

// isLabelKey: Kubernetes, "Labels and Selectors", syntax and character set.
func isLabelKey(key string) bool {
	prefix, name, ok := strings.Cut(key, "/")
	if !ok {
		prefix, name = "", key
	}

	return (!ok || isNodeName(prefix)) && name != "" && isLabelValue(name)
}

func isLabelValue(value string) bool {
	return len(value) <= 63 && regexp.MustCompile(`^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$`).MatchString(value)
}

// isNodeName holds a name against RFC 1123, as Kubernetes does for names and the prefixes of labels.
func isNodeName(name string) bool {
	const label = `[a-z0-9]([-a-z0-9]*[a-z0-9])?`

	return len(name) <= 253 && regexp.MustCompile(`^`+label+`(\.`+label+`)*$`).MatchString(name)
}

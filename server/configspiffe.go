package server

import "fmt"

// validateSPIFFE leaves one place where the server's certificate and its callers' authorities come from.
func (c Config) validateSPIFFE(p *problems) {
	noFiles(p, "tls", [][2]string{{"certificate", c.TLS.Certificate}, {"key", c.TLS.Key}, {"client_ca", c.TLS.ClientCA}, {"crl", c.TLS.CRL}})
	c.TLS.SPIFFE.Check(func(key, text string) { p.add("tls.spiffe."+key, "%s", text) })
	for i, rule := range c.Clients {
		for _, san := range rule.SAN {
			if problem := c.TLS.SPIFFE.CheckRule(san); problem != "" {
				p.add(fmt.Sprintf("clients[%d].san", i), "%.64q %s", san, problem)
			}
		}
	}
}

// validateSPIFFE does the same for the side towards the nodes.
func (c NodesConfig) validateSPIFFE(p *problems) {
	noFiles(p, "nodes", [][2]string{{"certificate", c.Certificate}, {"key", c.Key}, {"ca", c.CA}})
	c.SPIFFE.Check(func(key, text string) { p.add("nodes.spiffe."+key, "%s", text) })
	if problem := c.SPIFFE.CheckNodeID(c.SPIFFE.NodeIDs); problem != "" {
		p.add("nodes.spiffe.node_ids", "%s", problem)
	}
}

// noFiles refuses keys with paths that would say nothing.
func noFiles(p *problems, section string, files [][2]string) {
	for _, file := range files {
		if file[1] != "" {
			p.add(section+"."+file[0], "it says nothing with %s.spiffe, where all of it comes from the Workload API; remove one of them", section)
		}
	}
}

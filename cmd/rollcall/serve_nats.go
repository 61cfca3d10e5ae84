package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"rollcall/cmd/rollcall/internal/service"
	"rollcall/eventstore/jetstream"
)

// natsFlags tell of the cluster that keeps the log.
type natsFlags struct {
	User      string `help:"User of the cluster." default:"rollcall"`
	Creds     string `help:"File with the credentials of the cluster, instead of a user and password." type:"existingfile" placeholder:"FILE"`
	Leaf      string `help:"Addresses where the cluster takes leaf nodes, such as nats://10.0.0.1:7422. By them the NATS clients of --nats-listen reach it." placeholder:"URLS"`
	LeafUser  string `help:"User of the cluster for leaf nodes." default:"rollcall-door"`
	LeafCreds string `help:"File with the credentials for leaf nodes, instead of a user and password." type:"existingfile" placeholder:"FILE"`
	Replicas  int    `help:"How many servers of the cluster keep a copy of everything." default:"3"`
	CA        string `name:"ca" help:"File with the certificates of the authority that the cluster's are of, where the machine does not know it." type:"existingfile" placeholder:"FILE"`
	Cert      string `help:"File with the certificate of this process, where the cluster wants one." type:"existingfile" placeholder:"FILE"`
	Key       string `help:"File with the key of --nats-cert." type:"existingfile" placeholder:"FILE"`
}

// apply sets what the flags and the addresses of --nats say. The passwords are in the environment.
func (f *natsFlags) apply(cfg *service.Config, cluster string, env lookup) error {
	if cluster == "" {
		if f.Leaf != "" {
			return usage("--nats-leaf is for a cluster; name that with --nats")
		}
		return nil
	}
	security, err := f.tls()
	if err != nil {
		return err
	}
	cfg.Replicas = f.Replicas
	cfg.NATS = jetstream.Cluster{User: f.User, Password: env.text("ROLLCALL_NATS_PASSWORD"), Credentials: f.Creds, TLS: security}
	if cfg.NATS.URLs, err = jetstream.ParseURLs(cluster); err != nil {
		return usage("--nats: %v", err)
	}
	if f.Leaf == "" {
		return nil
	}
	cfg.Doors = jetstream.Cluster{User: f.LeafUser, Password: env.text("ROLLCALL_NATS_LEAF_PASSWORD"), Credentials: f.LeafCreds, TLS: security}
	if cfg.Doors.URLs, err = jetstream.ParseURLs(f.Leaf); err != nil {
		return usage("--nats-leaf: %v", err)
	}
	return nil
}

// tls returns how connections to the cluster are secured beyond what its addresses say, nil when by nothing.
func (f *natsFlags) tls() (*tls.Config, error) {
	if f.CA == "" && f.Cert == "" && f.Key == "" {
		return nil, nil
	}
	if (f.Cert == "") != (f.Key == "") {
		return nil, usage("--nats-cert and --nats-key go together: one is the certificate, the other its key")
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("read the certificates of --nats-ca: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usage("--nats-ca: %s holds no certificate", f.CA)
		}
	}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("read --nats-cert and --nats-key: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// Go's own judgement of a chain: for `chain.pem` under `root.pem`, whether it vouches for a host. Arguments: root.pem, then host and chain.pem by turns.
package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

func main() {
	root, _ := os.ReadFile(os.Args[1])
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	for i := 2; i+1 < len(os.Args); i += 2 {
		host := os.Args[i]
		text, _ := os.ReadFile(os.Args[i+1])
		first, rest := pem.Decode(text)
		leaf, err := x509.ParseCertificate(first.Bytes)
		if err == nil {
			between := x509.NewCertPool()
			between.AppendCertsFromPEM(rest)
			_, err = leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between})
		}
		if err == nil {
			fmt.Println(host, "accepted")
		} else {
			fmt.Println(host, "refused:", err)
		}
	}
}

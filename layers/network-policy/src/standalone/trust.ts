/** What makes programs trust a certificate authority: variables that name a bundle, and the places where systems keep theirs. */

/** Read instead of the system's bundle: OpenSSL (and Go, Python's ssl, Ruby), requests and httpx, curl, git, pip, cargo, AWS, Deno, gRPC. */
const bundles = ['SSL_CERT_FILE', 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE', 'GIT_SSL_CAINFO', 'PIP_CERT', 'CARGO_HTTP_CAINFO', 'AWS_CA_BUNDLE', 'DENO_CERT', 'GRPC_DEFAULT_SSL_ROOTS_FILE_PATH'];

/** Where Debian, Alpine and Fedora keep theirs. */
export const systemBundles = ['/etc/ssl/certs/ca-certificates.crt', '/etc/ssl/cert.pem', '/etc/pki/tls/certs/ca-bundle.crt'] as const;

/** `bundle`: a PEM file with all roots, ours among them; `own`: one with ours alone. */
export function trustVariables(bundle: string, own: string): Readonly<Record<string, string>> {
  // Node adds to what it brings along; the others replace.
  return { ...Object.fromEntries(bundles.map((name) => [name, bundle])), NODE_EXTRA_CA_CERTS: own };
}

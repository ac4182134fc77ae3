/** What makes programs trust a certificate authority: variables that name a bundle, and the places where systems keep theirs. */

import { trustPassword } from './java-trust-store.ts';

/** Read instead of the system's bundle: OpenSSL (and Go, Python's ssl, Ruby), requests and httpx, curl, git, pip, cargo, AWS, Deno, gRPC. */
const bundles = ['SSL_CERT_FILE', 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE', 'GIT_SSL_CAINFO', 'PIP_CERT', 'CARGO_HTTP_CAINFO', 'AWS_CA_BUNDLE', 'DENO_CERT', 'GRPC_DEFAULT_SSL_ROOTS_FILE_PATH'];

/** Where Debian, Alpine and Fedora keep theirs. */
export const systemBundles = ['/etc/ssl/certs/ca-certificates.crt', '/etc/ssl/cert.pem', '/etc/pki/tls/certs/ca-bundle.crt'] as const;

/** Where Debian keeps Java's. */
export const javaStore = '/etc/ssl/certs/java/cacerts';

/** `bundle`: a PEM file with all roots, ours among them; `own`: one with ours alone; `java`: all of them in a store that Java reads. */
export function trustVariables(bundle: string, own: string, java: string, before: NodeJS.ProcessEnv): Readonly<Record<string, string>> {
  const store = `-Djavax.net.ssl.trustStore=${java} -Djavax.net.ssl.trustStoreType=JKS -Djavax.net.ssl.trustStorePassword=${trustPassword}`;
  const options = before['JAVA_TOOL_OPTIONS'];
  // Node adds to what it brings along; the others replace.
  return { ...Object.fromEntries(bundles.map((name) => [name, bundle])), NODE_EXTRA_CA_CERTS: own, JAVA_TOOL_OPTIONS: options ? `${options} ${store}` : store };
}

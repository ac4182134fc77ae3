/** Heads of answers as large services send them hold nothing that is looked for; what hides in one in an encoding is found. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspectAnswerFields } from './inspect-head.ts';

const heads: Readonly<Record<string, string>> = {
  'api.github.com': `Server: github.com
Date: Sun, 22 Nov 2026 21:35:39 GMT
Content-Type: application/json; charset=utf-8
Cache-Control: private, max-age=60, s-maxage=60
Vary: Accept, Authorization, Cookie, X-GitHub-OTP,Accept-Encoding, Accept, X-Requested-With
ETag: W/"be5f64d4a30df3b1d3a3d1fef1f1a4a66e40a84f3e9d4e2f8a7c6b5d4e3f2a1b"
X-OAuth-Scopes: repo, user
X-Accepted-OAuth-Scopes:
github-authentication-token-expiration: 2027-01-05 00:00:00 UTC
X-GitHub-Media-Type: github.v3; format=json
Link: <https://api.github.com/repositories/1300192/issues?per_page=100&after=Y3Vyc29yOnYyOpLPAAABjB8p0FjOeqbWvw%3D%3D&page=2>; rel="next", <https://api.github.com/repositories/1300192/issues?page=83>; rel="last"
x-github-api-version-selected: 2022-11-28
X-RateLimit-Limit: 5000
X-RateLimit-Remaining: 4987
X-RateLimit-Reset: 1795383339
X-RateLimit-Used: 13
X-RateLimit-Resource: core
Access-Control-Expose-Headers: ETag, Link, Location, Retry-After, X-GitHub-OTP, X-RateLimit-Limit, X-RateLimit-Remaining
Strict-Transport-Security: max-age=31536000; includeSubdomains; preload
X-GitHub-Request-Id: D4F2:2C6A3B:1F5E8D9:3E0A7B1:6740F9AB`,
  'github.com': `Server: GitHub.com
Content-Security-Policy: default-src 'none'; base-uri 'self'; connect-src 'self' uploads.github.com api.github.com github-cloud.s3.amazonaws.com wss://alive.github.com; script-src github.githubassets.com 'nonce-4a7bD9xQ2mZkLp0RtYvWcE=='; style-src 'unsafe-inline' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
Set-Cookie: _gh_sess=Zk3vJx%2BY8a7dQ%2F1L0pWmT4sRbN6uCgHi%3D%3D--a9B8c7D6e5F4g3H2--Q1w2E3r4T5y6U7i8O9p0aA%3D%3D; Path=/; HttpOnly; Secure; SameSite=Lax
Set-Cookie: _octo=GH1.1.1874629305.1795383339; Path=/; Domain=github.com; Expires=Mon, 22 Nov 2027 21:35:39 GMT; Secure; SameSite=Lax
Set-Cookie: logged_in=no; Path=/; Domain=github.com; Expires=Mon, 22 Nov 2027 21:35:39 GMT; HttpOnly; Secure; SameSite=Lax
Set-Cookie: user_session=n5Ww8JHgYkQ2vXcLzT0mBqRdSfGhPjKlA4u7i9o1E3t6y8Zs; path=/; HttpOnly`,
  'release download': `HTTP-Status: 302
Location: https://release-assets.githubusercontent.com/github-production-release-asset/1300192/0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9?sp=r&sv=2018-11-09&sr=b&spr=https&se=2026-11-22T22%3A35%3A39Z&rscd=attachment%3B+filename%3Dtool-1.2.3.tar.gz&rsct=application%2Foctet-stream&skoid=96c2d410-5711-43a1-aedd-ab1947aa7ab0&sktid=398a6654-997b-47e9-b12b-9515b896b4de&sig=x9Yb3KQ%2FvT0LwPzJm2RcNd8Fh5GkSa7UqEi1Wo4Xt6M%3D&jwt=eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJnaXRodWIuY29tIiwia2V5Ijoia2V5MSIsImV4cCI6MTc5NTM4NjkzOX0.Qm3pVx8Zk1LwT5yRcNd7Fh2GjSa9UqEi4Wo6Xt0Mb_A&response-content-disposition=attachment%3B%20filename%3Dtool-1.2.3.tar.gz`,
  'old release download': `Location: https://objects.githubusercontent.com/github-production-release-asset-2e65be/1300192/0a1b2c3d?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAVCODYLSA53PQK4ZA%2F20261122%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20261122T213539Z&X-Amz-Expires=300&X-Amz-Signature=8b1f0a9c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f0a&X-Amz-SignedHeaders=host&actor_id=0&key_id=0&repo_id=1300192`,
  'registry.npmjs.org': `Date: Sun, 22 Nov 2026 21:35:39 GMT
Content-Type: application/octet-stream
Content-Length: 1401812
CF-Ray: 8e6b4f1d2c3a9b70-FRA
CF-Cache-Status: HIT
Accept-Ranges: bytes
Access-Control-Allow-Origin: *
Age: 1284231
Cache-Control: public, immutable, max-age=31557600
ETag: "a1b2c3d4e5f60718293a4b5c6d7e8f90"
Last-Modified: Thu, 12 Sep 2024 18:03:11 GMT
Vary: Accept-Encoding
Set-Cookie: _cfuvid=eLp0q8Vn3mXkZy5RtWcBd7Fh2GjSa9UqEi4Wo6Xt1Mb-1795383339482-0.0.1.1-604800000; path=/; domain=.npmjs.org; HttpOnly; Secure; SameSite=None
npm-notice: {"level":"info"}
Server: cloudflare`,
  's3.amazonaws.com': `x-amz-id-2: Uuag1LuByRx9e6j5Onimru9pO4ZVKnJ2Qz7/C1NPcfTWAtRPfTaOFg==
x-amz-request-id: 656C76696E6727732072657175657374
Date: Sun, 22 Nov 2026 21:35:39 GMT
Last-Modified: Sun, 1 Jan 2006 12:00:00 GMT
ETag: "d41d8cd98f00b204e9800998ecf8427e-38"
x-amz-storage-class: STANDARD_IA
x-amz-server-side-encryption: aws:kms
x-amz-server-side-encryption-aws-kms-key-id: arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab
x-amz-version-id: 3HL4kqtJvjVBH40Nrjfkd.tnOwm0KQ5B
x-amz-expiration: expiry-date="Fri, 23 Dec 2026 00:00:00 GMT", rule-id="picture-deletion-rule"
x-amz-replication-status: COMPLETED
x-amz-checksum-crc32: AAAAAA==
x-amz-checksum-sha256: 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=
x-amz-meta-mtime: 1700000000.123456789
Accept-Ranges: bytes
Content-Range: bytes 0-1023/1234567890123
Server: AmazonS3`,
  'cloudfront': `X-Cache: Miss from cloudfront
Via: 1.1 4f1a2b3c4d5e6f708192a3b4c5d6e7f8.cloudfront.net (CloudFront), 1.1 10.varnish
X-Amz-Cf-Pop: FRA60-P3
X-Amz-Cf-Id: bK3mXkZy5RtWcBd7Fh2GjSa9UqEi4Wo6Xt1MbPq8Vn0LzJw==
x-amzn-RequestId: c6af9ac6-7b61-11e6-9a41-93e8deadbeef
x-amzn-Trace-Id: Root=1-63441c4a-abcdef012345678912345678;Parent=0123456789abcdef;Sampled=1
x-amz-apigw-id: BzPq8Vn0LzJwFiA=`,
  'cloudflare': `Server: cloudflare
CF-RAY: 8e6b4f1d2c3a9b70-FRA
Report-To: {"endpoints":[{"url":"https:\\/\\/a.nel.cloudflare.com\\/report\\/v4?s=Zk3vJx%2BY8a7dQ%2F1L0pWmT4sRbN6uCgHi%2Bq9X5eD8fK2oV7wA1yJ3"}],"group":"cf-nel","max_age":604800}
NEL: {"success_fraction":0,"report_to":"cf-nel","max_age":604800}
alt-svc: h3=":443"; ma=86400
server-timing: cfL4;desc="?proto=TCP&rtt=14129&min_rtt=13825&rtt_var=5381&sent=5&recv=6&lost=0&retrans=0&sent_bytes=2835&recv_bytes=831&delivery_rate=209475&cwnd=252&unsent_bytes=0&cid=0f1e2d3c4b5a6978&ts=47&x=0"
Set-Cookie: __cf_bm=Jx7dQ1L0pWmT4sRbN6uCgHiZk3vY8aq9X5eD8fK2oV7-1795383339-1.0.1.1-wA1yJ3eLp0q8Vn3mXkZy5RtWcBd7Fh2GjSa9UqEi4Wo6Xt1Mb; path=/; expires=Sun, 22-Nov-26 22:05:39 GMT; domain=.example.com; HttpOnly; Secure`,
  'nginx': `Server: nginx/1.24.0 (Ubuntu)
Date: Sun, 22 Nov 2026 21:35:39 GMT
Content-Type: text/html
Content-Length: 10671
Last-Modified: Mon, 15 Jan 2024 09:12:44 GMT
Connection: keep-alive
ETag: "65a4f6bc-29af"
Accept-Ranges: bytes`,
  'apache and php': `Server: Apache/2.4.52 (Unix) OpenSSL/3.0.2 mod_fcgid/2.3.9 PHP/7.4.33.2
X-Powered-By: PHP/7.4.33.2
Set-Cookie: PHPSESSID=298zf09hf012fh2kq7x1m4b9vd; path=/
Expires: Thu, 19 Nov 1981 08:52:00 GMT
Cache-Control: no-store, no-cache, must-revalidate
P3P: CP="IDC DSP COR ADM DEVi TAIi PSA PSD IVAi IVDi CONi HIS OUR IND CNT"
X-Pingback: https://example.com/xmlrpc.php`,
  'iis': `Server: Microsoft-IIS/10.0
X-AspNet-Version: 4.0.30319.1
X-AspNetMvc-Version: 5.2.7.0
Set-Cookie: ASP.NET_SessionId=q5vfw2lz0h3kx1mdjy4tnbce; path=/; HttpOnly; SameSite=Lax
Set-Cookie: .AspNetCore.Antiforgery.9TtSrW0hzOs=CfDJ8Nq7x1m4b9vdQ5vfw2lz0h3kx1mdjy4tnbceZk3vJxY8a7dQ1L0pWmT4sRbN6uCgHi; path=/; samesite=strict; httponly
x-ms-request-id: 1b2c3d4e-5f60-7182-93a4-b5c6d7e8f901
x-ms-version: 2021-12-02
x-ms-blob-content-md5: 1B2M2Y8AsgTpgAmY7PhCfg==
x-ms-lease-status: unlocked
X-Azure-Ref: 20261122T213539Z-r1f8c6b5d4e3f2a1b0c9d8e7f6a5b4c3d20000000abc0000000012ab
X-MSEdge-Ref: Ref A: 1B2C3D4E5F60718293A4B5C6D7E8F901 Ref B: FRA31EDGE0812 Ref C: 2026-11-22T21:35:39Z`,
  'storage.googleapis.com': `X-GUploader-UploadID: AFiumC5x0Zk3vJxY8a7dQ1L0pWmT4sRbN6uCgHiq9X5eD8fK2oV7wA1yJ3eLp0q8Vn3mXkZy5RtWcBd7Fh2G
Expires: Sun, 22 Nov 2026 22:35:39 GMT
x-goog-generation: 1699999999123456
x-goog-metageneration: 1
x-goog-stored-content-encoding: identity
x-goog-stored-content-length: 1048576
x-goog-hash: crc32c=AAAAAA==
x-goog-hash: md5=1B2M2Y8AsgTpgAmY7PhCfg==
x-goog-storage-class: STANDARD
Server: UploadServer
Alt-Svc: h3=":443"; ma=2592000,h3-29=":443"; ma=2592000`,
  'googleapis.com': `Vary: Origin, X-Origin, Referer
Server: ESF
X-XSS-Protection: 0
X-Frame-Options: SAMEORIGIN
X-Content-Type-Options: nosniff
Server-Timing: gfet4t7; dur=1290
X-Cloud-Trace-Context: 105445aa7843bc8bf206b12000100000/1;o=1`,
  'google.com': `Set-Cookie: AEC=AVYB7crXk9Zk3vJxY8a7dQ1L0pWmT4sRbN6uCgHiq9X5eD8fK2oV7wA1yJ3; expires=Fri, 21-May-2027 21:35:39 GMT; path=/; domain=.google.com; Secure; HttpOnly; SameSite=lax
Set-Cookie: NID=519=Jx7dQ1L0pWmT4sRbN6uCgHiZk3vY8aq9X5eD8fK2oV7wA1yJ3eLp0q8Vn3mXkZy5RtWcBd7Fh2GjSa9UqEi4Wo6Xt1Mb; expires=Mon, 24-May-2027 21:35:39 GMT; path=/; HttpOnly
P3P: CP="This is not a P3P policy! See g.co/p3phelp for more info."
Content-Security-Policy-Report-Only: object-src 'none';base-uri 'self';script-src 'nonce-x9YbKQvT0LwPzJm2RcNd8F' 'strict-dynamic' 'report-sample' 'unsafe-eval' 'unsafe-inline' https: http:;report-uri https://csp.withgoogle.com/csp/gws/other-hp`,
  'api.openai.com': `content-type: application/json
access-control-expose-headers: X-Request-ID
openai-organization: user-x1m4b9vdq5vfw2lz0h3kx7jy
openai-processing-ms: 1843
openai-version: 2020-10-01
openai-project: proj_Zk3vJxY8a7dQ1L0pWmT4sRbN
x-ratelimit-limit-requests: 10000
x-ratelimit-limit-tokens: 2000000
x-ratelimit-remaining-tokens: 1999482
x-ratelimit-reset-requests: 6ms
x-ratelimit-reset-tokens: 15ms
x-request-id: req_0f1e2d3c4b5a69788796a5b4c3d2e1f0
x-envoy-upstream-service-time: 1851
strict-transport-security: max-age=31536000; includeSubDomains; preload
cf-cache-status: DYNAMIC`,
  'api.anthropic.com': `request-id: req_011CSHoEeqs5C35K2UUqR7Fy
anthropic-organization-id: 0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0
anthropic-ratelimit-requests-reset: 2026-11-22T21:35:40Z
anthropic-ratelimit-tokens-remaining: 79000
retry-after: 12
x-robots-tag: none`,
  'npm mirror behind fastly': `X-Served-By: cache-iad-kiad7000132-IAD, cache-fra-eddf8230020-FRA
X-Cache: HIT, HIT
X-Cache-Hits: 4, 1
X-Timer: S1795383339.482915,VS0,VE1
X-Fastly-Request-ID: 5f3c2a1b9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a
Fastly-Restarts: 1
Via: 1.1 varnish, 1.1 varnish
X-Varnish: 1234567890 987654321`,
  'pypi.org': `Content-Security-Policy: base-uri 'self'; block-all-mixed-content; connect-src 'self' https://api.github.com/repos/ *.google-analytics.com fastly-insights.com sentry.io; frame-src 'none'
x-pypi-last-serial: 26124093
X-Pypi-File-Python-Version: py3
Referrer-Policy: origin-when-cross-origin
Permissions-Policy: publickey-credentials-create=(self),publickey-credentials-get=(self),accelerometer=(),ambient-light-sensor=()`,
  'registry-1.docker.io': `Www-Authenticate: Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull"
Docker-Content-Digest: sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1
Docker-Distribution-Api-Version: registry/2.0
docker-ratelimit-source: 0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0
ratelimit-limit: 100;w=21600
Location: /v2/library/alpine/blobs/uploads/3b5c9d2e-7f61-4a08-92b3-c4d5e6f70819?_state=q9X5eD8fK2oV7wA1yJ3eLp0q8Vn3mXkZy5RtWcBd7Fh2GjSa9UqEi4Wo6Xt1MbN7Ik5hbWUiOiJsaWJyYXJ5L2FscGluZSJ9`,
  'slack.com': `x-slack-req-id: 2f1e0d9c8b7a69584736251403f2e1d0
x-oauth-scopes: channels:read,chat:write
x-slack-backend: r
x-backend: slack_www_with_fallback canary
x-slack-unique-id: Z0D5q7x1m4b9vdq5vfw2lwAAABk
x-slack-edge-shared-secret-outcome: no-match`,
  'api.stripe.com': `Request-Id: req_Q1w2E3r4T5y6U7
Idempotency-Key: 3c6e0b8a-9c15-424a-8b7d-1f2e3d4c5b6a
Stripe-Version: 2024-06-20
X-Stripe-Routing-Context-Priority-Tier: api-livemode
X-Wc: ABGHI`,
  'salesforce': `Sforce-Limit-Info: api-usage=18/5000
Set-Cookie: BrowserId=q7x1m4b9Ee-vdQ5vfw2lzA; domain=.salesforce.com; path=/; expires=Mon, 22-Nov-2027 21:35:39 GMT; Max-Age=31536000
Set-Cookie: CookieConsentPolicy=0:1; path=/; expires=Mon, 22-Nov-2027 21:35:39 GMT; Max-Age=31536000
X-Request-Id: f7a8b9c0d1e2f30415263748596a7b8c`,
  'crates.io': `content-security-policy: default-src 'self'; connect-src 'self' *.ingest.sentry.io https://docs.rs https://play.rust-lang.org https://static.crates.io; script-src 'self' 'sha256-n1+BB7Ckjcal1Pr7QNBh/dKRTtBQsIytFodRiIosXdE='
via: 1.1 vegur, 1.1 0f1e2d3c4b5a69788796a5b4c3d2e1f0.cloudfront.net (CloudFront)
nel: {"report_to":"heroku-nel","response_headers":["Via"],"max_age":3600,"success_fraction":0.01,"failure_fraction":0.1}
reporting-endpoints: heroku-nel="https://nel.heroku.com/reports?s=q9X5eD8fK2oV7wA1yJ3eLp0q8Vn3mXkZy5RtWcBd7Fg%3D&sid=af571f24-03ee-46d1-9f90-ab9030c2c74c&ts=1795383339"`,
  'wikipedia.org': `server: mw-web.eqiad.main-7d9f8c6b5-x2m4k
x-cache: cp3071 hit, cp3071 hit/83
x-cache-status: hit-front
set-cookie: WMF-Last-Access=22-Nov-2026;Path=/;HttpOnly;secure;Expires=Thu, 24 Dec 2026 12:00:00 GMT
set-cookie: GeoIP=DE:BE:Berlin:52.52:13.40:v4; Path=/; secure; Domain=.wikipedia.org
set-cookie: WMF-Uniq=q9X5eD8fK2oV7wA1yJ3eLgI3AAAAAFvd8Vn3mXkZy5RtWcBd7Fh2GjSa9UqEi4Wo;Domain=.wikipedia.org;Path=/;HttpOnly;secure`,
  'rails': `X-Runtime: 0.051234
X-Request-Id: 9f8e7d6c-5b4a-3928-1706-f5e4d3c2b1a0
X-Download-Options: noopen
X-Permitted-Cross-Domain-Policies: none
Set-Cookie: _app_session=R0dhUzNKMWk4M0VxWkt4%2BK2Q4bUxwUTlYNWVEOGZLMm9WN3dBMXlKMw%3D%3D--5f3c2a1b9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a; path=/; HttpOnly`,
  'a framework with a token': `Authorization: Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c
X-CSRF-Token: q9X5eD8fK2oV7wA1yJ3eLp0q8Vn3mXkZy5RtWcBd7Fh2GjSa9UqEi4Wo6Xt1MbN7
Set-Cookie: csrftoken=q9X5eD8fK2oV7wA1yJ3eLp0q8Vn3mXkZ; expires=Sun, 21 Nov 2027 21:35:39 GMT; Max-Age=31449600; Path=/; SameSite=Lax
Set-Cookie: sessionid=eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c; HttpOnly`,
  'a download': `Content-Disposition: attachment; filename="report-2026-11-22-0001234567.pdf"; filename*=UTF-8''report-2026-11-22-0001234567.pdf
Content-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==
Digest: sha-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=
X-Checksum-Sha1: da39a3ee5e6b4b0d3255bfef95601890afd80709
X-Artifactory-Id: 3f1e0d9c8b7a6958:-4736251403f2e1d0:18f2a3b4c5d:-8000
X-JFrog-Version: Artifactory/7.77.5 77705900`,
  'gRPC': `grpc-status: 0
grpc-message: OK
grpc-encoding: identity
grpc-accept-encoding: identity, deflate, gzip
x-envoy-decorator-operation: pkg.Service/Method
grpc-status-details-bin: CAUSDmRvZXMgbm90IGV4aXN0`,
  'jaeger and zipkin': `X-B3-TraceId: 80f198ee56343ba864fe8b2a57d3eff7
X-B3-SpanId: e457b5a2e4d86bd1
uber-trace-id: 4bf92f3577b34da6a3ce929d0e0e4736:00f067aa0ba902b7:0:1
traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
traceresponse: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
X-Correlation-ID: 20261122-213539-0001234567`,
};

const fieldsOf = (text: string): string[] => text.split('\n').flatMap((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]);

test('nothing is found in heads of answers as services send them, together and field by field, also when they come again', () => {
  for (const [name, text] of [...Object.entries(heads), ...Object.entries(heads)]) {
    const fields = fieldsOf(text);
    for (let i = 0; i < fields.length; i += 2) assert.deepEqual(inspectAnswerFields(fields.slice(i, i + 2)), [], `${name}: ${fields[i]}`);
    assert.deepEqual(inspectAnswerFields(fields), [], name);
  }
  assert.ok(Object.keys(heads).length >= 28);
});

test('what is looked for is found in every kind of field, plain or one encoding deep', () => {
  const card = '4111 1111 1111 1111';
  const mail = 'jane.roe@example.org';
  const forms: readonly (readonly [string, string, string])[] = [
    ...['etag', 'x-request-id', 'set-cookie', 'location', 'x-anything', 'server-timing', 'content-disposition'].flatMap((name) => [[name, `a ${card} b`, 'credit-card'], [name, `of ${mail};`, 'email'], [name, encodeURIComponent(`of ${mail};`), 'email'], [name, Buffer.from(`mail: ${mail}`).toString('base64'), 'email'], [name, 'token ghp_16C7e42F292c6912E7710c838347Ae178B4a', 'secret']] as const),
    ['location', `https://a.test/in/${Buffer.from(`mail: ${mail}`).toString('base64url')}`, 'email'],
    ['content-disposition', `attachment; filename*=UTF-8''${encodeURIComponent(`report of ${mail}.pdf`)}`, 'email'],
    ['link', `<https://a.test/?q=${encodeURIComponent(card)}>; rel="next"`, 'credit-card'],
    ['x-wide', Buffer.from('card ４１１１１１１１１１１１１１１１').toString('latin1'), 'credit-card'],
    ['x-4111111111111111', '1', 'credit-card'],
    ['x-4111111111111111-id', '1', 'credit-card'],
    ['x-a', `${'word '.repeat(8000)}${card}`, 'credit-card'],
    ['location', `https://jane:hunter2secret@a.test/`, 'secret'],
    ['x-refs', 'jane.roe&#64;example.org', 'email'], ['x-json', '{"to":"jane.roe\\u0040example.org"}', 'email'], ['subject', `=?UTF-8?B?${Buffer.from(`mail: ${mail}`).toString('base64')}?=`, 'email'],
    ['x-phone', '+1 415-555-2671', 'phone'], ['x-peer', '203.0.113.9', 'ip'],
  ];
  for (const [name, value, type] of forms) assert.ok(inspectAnswerFields([name, value]).some((one) => one.type === type), `${name}: ${value.slice(0, 80)}`);
  const many = Array.from({ length: 400 }, (_, i) => [`x-f${i}`, i === 399 ? card : `value ${i}`]).flat();
  assert.deepEqual(inspectAnswerFields(many).map(({ type }) => type), ['credit-card']);
  for (const words of ['version', 'order id', 'account']) for (const [name, value, type] of forms) assert.ok(inspectAnswerFields(['x-says', words, 'etag', words, 'location', words, name, value]).some((one) => one.type === type), `${words} before ${name}`);
});

test('what is clean under one name is looked at again under another', () => {
  const number = '4111111111111111';
  assert.deepEqual(inspectAnswerFields(['x-customer-id', number]).map(({ confidence }) => confidence < 0.9), [true], 'its name says that it is something else');
  assert.deepEqual(inspectAnswerFields(['etag', number]).map(({ confidence }) => confidence >= 0.9), [true]);
  assert.deepEqual(inspectAnswerFields(['x-customer-id', '+1 415-555-2671']), []);
  assert.deepEqual(inspectAnswerFields(['x-customer', '+1 415-555-2671']).map(({ type }) => type), ['phone']);
});

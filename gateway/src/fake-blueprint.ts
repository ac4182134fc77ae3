/** For tests: the blueprint of an agent with tools, a network and approvals. */

/** Blueprint files that every test starts from. */
export const blueprintFiles: Readonly<Record<string, string>> = {
  'blueprint.yaml': `apiVersion: nemoclaw.dev/v1
kind: Blueprint
name: support
version: 1.0.0
description: for tests
role: support
agent: { kind: shell }
files: { sandbox: sandbox.yaml, network: network.yaml, actions: actions.yaml, approvals: approvals.yaml, inference: inference.yaml }
`,
  'sandbox.yaml': `apiVersion: openshell.nvidia.com/v1
kind: SandboxPolicy
metadata: { name: support }
spec:
  isolation: { network: restricted, filesystem: workspace, syscalls: standard }
  permissions: { allowedAPIs: [crm.read, email.send], deniedAPIs: [billing.*] }
  filesystem: { escalate: [{ path: /workspace/archive/**, on: [delete, rename] }] }
`,
  'network.yaml': `networkPolicy:
  name: support
  egress:
    allow:
      - { domain: crm.acme.example, methods: [GET] }
      - { domain: mail.acme.example, methods: [POST] }
    escalate:
      - { domain: warehouse.acme.example, methods: [PUT] }
    deny:
      - { domain: "*" }
`,
  'actions.yaml': `organization: { domains: [acme.example] }
actions:
  - name: crm.read
    match: [{ tool: crm_read }, { http: { host: crm.acme.example, method: GET, path: "/customers/{customerId}" } }]
    labels: { sensitivity: confidential, reversibility: fully-reversible, scope: single, compliance: [GDPR] }
  - name: email.send
    match: [{ tool: email_send }, { http: { host: mail.acme.example, method: POST, path: /v1/send } }]
    attributes: { recipient: "$.to" }
    labels: { sensitivity: internal, reversibility: irreversible, scope: external, compliance: [GDPR] }
`,
  'approvals.yaml': `triggers: [{ action: email.send, threshold: always }]
channels: [terminal]
timeout: 15m
defaultAction: deny
`,
  'inference.yaml': `providers: [{ name: demo, kind: demo, endpoint: "http://127.0.0.1:8930/v1", model: demo-script-1, location: local }]
default: demo
`,
};

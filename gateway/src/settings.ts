/** Where things are for this instance of the gateway; everything comes from the environment that openshelld gives. */

export interface Settings {
  /** $RUN, e.g. /run/nemoclaw */
  readonly run: string;
  /** $STATE, e.g. /var/lib/nemoclaw */
  readonly state: string;
  /** Folder of installed agents, one folder each. */
  readonly agentsDir: string;
  /** Folders in which blueprints lie, each one folder; the first that has the name wins. */
  readonly blueprintDirs: readonly string[];
  /** Folders in which the trust anchors of policies lie. */
  readonly anchorDirs: readonly string[];
  /** Where calls into sandboxes are taken; undefined: nowhere. */
  readonly ingress?: { readonly host: string; readonly port: number };
  /** Base URL of the scripted model, '' if none runs here. */
  readonly demoEndpoint: string;
  /** Version of the product. */
  readonly version: string;
  /** Approval channels and audit destinations that are configured. */
  readonly channels: ReadonlySet<string>;
  readonly sinks: ReadonlySet<string>;
}

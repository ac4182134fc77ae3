# A package and one that depends on it, packed and installed without a network; its own program run by npx and a script.
set -e
command -v npm >/dev/null || { echo 'absent: npm'; exit 0; }
mkdir -p packages/dependency packages/user && cd packages
printf '{"name":"dependency","version":"1.0.0","main":"index.js","bin":{"say":"say.js"}}' > dependency/package.json
printf 'module.exports = "installed";' > dependency/index.js
printf '#!/usr/bin/env node\nconsole.log("said", require("./index.js"));\n' > dependency/say.js
printf '{"name":"user","version":"1.0.0","scripts":{"start":"node start.js"}}' > user/package.json
printf 'console.log(require("dependency"));' > user/start.js
export npm_config_update_notifier=false npm_config_offline=true npm_config_audit=false npm_config_fund=false npm_config_loglevel=error
(cd dependency && npm pack --silent --pack-destination .. >/dev/null)
cd user && npm install ../dependency-1.0.0.tgz >/dev/null
echo "script $(npm run --silent start)"
./node_modules/.bin/say

# A virtual environment and a wheel of our own in it, without a network.
set -e
/usr/bin/python3 -c 'import venv, ensurepip' 2>/dev/null || { echo 'absent: python3-venv'; exit 0; }
/usr/bin/python3 -m venv environment
/usr/bin/python3 - <<'P'
import zipfile
info = 'ours-1.0.dist-info'
with zipfile.ZipFile('ours-1.0-py3-none-any.whl', 'w') as wheel:
    wheel.writestr('ours.py', 'def main():\n    print("installed")\n')
    wheel.writestr(info + '/METADATA', 'Metadata-Version: 2.1\nName: ours\nVersion: 1.0\n')
    wheel.writestr(info + '/WHEEL', 'Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
    wheel.writestr(info + '/entry_points.txt', '[console_scripts]\nours = ours:main\n')
    wheel.writestr(info + '/RECORD', 'ours.py,,\n' + info + '/METADATA,,\n' + info + '/WHEEL,,\n' + info + '/entry_points.txt,,\n' + info + '/RECORD,,\n')
P
environment/bin/pip install -q --disable-pip-version-check --no-index ./ours-1.0-py3-none-any.whl
echo "wheel $(environment/bin/ours)"

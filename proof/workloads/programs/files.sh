# Archives with links and modes, a sort that does not fit its memory, locks, many small files, a pipe with a name.
set -e
mkdir -p many && for n in $(seq 300); do echo "$n" > "many/$n"; done
ln -s 7 many/link && chmod 600 many/1 && ln many/2 many/hard
tar czf many.tgz many && mkdir -p out && tar xzf many.tgz -C out && diff -r many out/many && echo "tar $(stat -c %a out/many/1) $(readlink out/many/link)"
if command -v zip >/dev/null && command -v unzip >/dev/null; then zip -qr many.zip many && unzip -qq many.zip -d unzipped; else python3 -m zipfile -c many.zip many && python3 -m zipfile -e many.zip unzipped; fi
echo "zip $(cat unzipped/many/300)"
seq 300000 | shuf > numbers && sort -n -S 1M -T . --parallel=2 numbers -o sorted && seq 300000 | cmp - sorted && echo "sort $(wc -l < sorted)"
mkfifo pipe && (echo through > pipe &) && echo "pipe $(cat pipe)"
flock lock sh -c 'flock -n lock true || echo "lock held"'
find many -type f -print0 | xargs -0 -P 4 -n 50 cat | wc -l
rm -r many out unzipped && cp -a sorted copied && touch -d 2001-01-01 copied && stat -c %Y copied

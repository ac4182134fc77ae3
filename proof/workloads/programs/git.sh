# A repository from its first commit to a merge, a clone of it, a worktree of it, a stash, a bundle.
set -e
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@localhost GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@localhost
git init -q -b main repository 2>&1
cd repository
for n in 1 2 3; do echo "$n" > "file-$n"; done
git add . && git commit -q -m first
git switch -q -c side && echo side > side && git add . && git commit -q -m side
git switch -q main && echo more >> file-1 && git commit -q -am second
git merge -q --no-edit side
echo "log $(git rev-list --count HEAD)"
echo draft >> file-2 && git stash -q && git stash pop -q && git checkout -q -- file-2
cd .. && git clone -q repository clone
echo "clone $(git -C clone branch -r | wc -l) $(git -C clone rev-list --count HEAD)"
git -C repository worktree add -q ../tree side
echo "worktree $(cat tree/side) $(git -C repository worktree list | wc -l)"
git -C repository gc -q && git -C repository fsck --no-dangling 2>/dev/null
git -C clone fetch -q && echo "clean $(git -C repository status --porcelain | wc -l)"

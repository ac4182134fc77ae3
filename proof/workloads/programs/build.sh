# A library, a program and its test, built by make on two processors, debugged information and link-time optimisation included.
set -e
mkdir -p build && cd build
printf 'int twice(int n) { return 2 * n; }\n' > twice.c
printf '#include <pthread.h>\n#include <stdio.h>\nint twice(int);\nstatic void *run(void *n) { *(int *)n = twice(*(int *)n); return 0; }\nint main(void) { int n = 21; pthread_t t; pthread_create(&t, 0, run, &n); pthread_join(t, 0); printf("%%d\\n", n); return 0; }\n' > main.c
printf 'CFLAGS = -O2 -g -flto -pthread\nall: program\nprogram: main.o libtwice.so\n\tgcc $(CFLAGS) -o $@ main.o -L. -ltwice -Wl,-rpath,'"'"'$$ORIGIN'"'"'\nlibtwice.so: twice.c\n\tgcc $(CFLAGS) -fPIC -shared -o $@ $<\ntest: program\n\t./program\n' > Makefile
make -s -j2 all
echo "program $(make -s test)"
touch twice.c && make -s -j2 all && echo "again $(./program)"

# Pools of processes with semaphores and shared memory, a database with a write-ahead log, threads, subprocesses, temporary files.
import concurrent.futures, multiprocessing, os, sqlite3, subprocess, tempfile, threading
from multiprocessing import shared_memory

def square(n):
    return n * n

if __name__ == '__main__':
    with multiprocessing.Pool(3) as pool:
        print('pool', sum(pool.map(square, range(100))))
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context('spawn')) as pool:
        print('spawn', sum(pool.map(square, range(4))))
    block = shared_memory.SharedMemory(create=True, size=64)
    block.buf[:2] = b'hi'
    same = shared_memory.SharedMemory(block.name)
    print('shared', bytes(same.buf[:2]).decode())
    same.close(); block.close(); block.unlink()

    base = sqlite3.connect('base.db')
    print('journal', base.execute('pragma journal_mode = wal').fetchone()[0])
    base.execute('create table t (n integer)')
    with base:
        base.executemany('insert into t values (?)', ((n,) for n in range(1000)))
    other = sqlite3.connect('base.db')
    print('rows', other.execute('select count(*), sum(n) from t').fetchone())

    seen = []
    threads = [threading.Thread(target=lambda n=n: seen.append(n)) for n in range(8)]
    for one in threads: one.start()
    for one in threads: one.join()
    print('threads', len(seen), subprocess.run(['sh', '-c', 'echo $((6 * 7))'], capture_output=True, text=True).stdout.strip())
    with tempfile.NamedTemporaryFile() as file:
        os.ftruncate(file.fileno(), 1 << 20)
        print('file', os.stat(file.name).st_size)

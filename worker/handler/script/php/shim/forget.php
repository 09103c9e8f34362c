<?php
namespace Pushd;

/**
 * Forget lets go of the pages of files that this process has read so far: PHP
 * itself and its extensions take some 10 MB for their start, of which little is
 * read again. They stay in the system's cache. It needs the extension ffi, which
 * most distributions load; without it they are kept.
 */
final class Forget
{
    const DONT_NEED = 4; // of Linux

    static function program(): void
    {
        if (\PHP_OS !== 'Linux' || !\class_exists('FFI', false)) {
            return;
        }
        try {
            $libc = \FFI::cdef('int madvise(unsigned long from, unsigned long bytes, int advice);');
            foreach (self::unchanged() as [$from, $to]) {
                $libc->madvise($from, $to - $from, self::DONT_NEED);
            }
        } catch (\Throwable $e) { // ffi.enable says no
        }
    }

    /** Where what a file says is what is there: nobody may write, and nobody has. */
    private static function unchanged(): array
    {
        $list = [];
        $last = null;
        $smaps = @\fopen('/proc/self/smaps', 'r');
        while ($smaps && ($line = \fgets($smaps)) !== false) {
            if (\preg_match('~^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ +(.?)~', $line, $m)) {
                $last = $m[4] === '/' && \in_array($m[3], ['r--p', 'r-xp'], true) ? [\hexdec($m[1]), \hexdec($m[2])] : null;
            } elseif ($last && \preg_match('~^Anonymous: +0 kB~', $line)) {
                $list[] = $last;
            }
        }
        return $list;
    }
}

<?php
namespace Pushd;

/**
 * Uploads reads a form with files (multipart/form-data). What was sent as a file is in a
 * temporary one.
 */
final class Uploads
{
    const MOST = 1000; // parts of a form, as max_input_vars of PHP

    /** Files that were sent and are where they were put: path => true. */
    private static $here = [];

    /**
     * [fields, files, paths of files] of a body; fields and files are null where there are
     * none. Where the form says f[] a file is one array, f[0][name], or $apart as in $_FILES, f[name][0].
     */
    static function parse(string $type, string $body, string $folder = '', bool $apart = false): array
    {
        [$fields, $files, $paths] = self::read($type, $body, $folder);
        $list = [];
        foreach ($files as [$name, $file]) {
            unset($file['full_path']);
            $at = \strpos($name, '[');
            if (!$apart || !$at) {
                $list[] = [$name, $file];
                continue;
            }
            foreach ($file as $key => $value) {
                $list[] = [\substr($name, 0, $at) . "[$key]" . \substr($name, $at), $value];
            }
        }
        return [self::tree($fields), self::tree($list), $paths];
    }

    /** The same for Workerman, whose files have the path that a form of a folder says. */
    static function whole(string $type, string $body, string $folder): array
    {
        [$fields, $files, $paths] = self::read($type, $body, $folder);
        return [self::tree($fields) ?? [], self::tree($files) ?? [], $paths];
    }

    /** [fields, files, paths of files], the first two as lists of [name in the form, value]. */
    private static function read(string $type, string $body, string $folder): array
    {
        $fields = $files = $paths = [];
        foreach (self::parts($type, $body) as [$head, $data]) {
            if (!\preg_match('/^Content-Disposition:[ \t]*(?:form-data|attachment);(.*)$/im', $head, $m)) {
                continue;
            }
            $name = self::parameter('name', $m[1]);
            $file = self::parameter('filename', $m[1]);
            if ($name === null || $name === '') {
                continue;
            }
            if ($file === null) {
                $fields[] = [$name, $data];
                continue;
            }
            $one = ['name' => \basename(\strtr($file, '\\', '/')), 'type' => '', 'tmp_name' => '', 'error' => \UPLOAD_ERR_NO_FILE, 'size' => 0, 'full_path' => $file];
            if ($file !== '') {
                $one = self::keep($one, $head, $data, $folder);
                $paths[] = $one['tmp_name'];
            }
            $files[] = [$name, $one];
        }
        return [$fields, $files, \array_values(\array_filter($paths))];
    }

    /** Head and bytes of each part; of a body that is not whole, of those that are. */
    private static function parts(string $type, string $body): array
    {
        if (!\preg_match('/;[ \t]*boundary=(?:"([^"]{1,200})"|([^\s;,]{1,200}))/i', $type, $m)) {
            return [];
        }
        $mark = "\r\n--" . ($m[1] !== '' ? $m[1] : $m[2]);
        $parts = [];
        $body = "\r\n$body";
        $at = \strpos($body, $mark);
        while ($at !== false && \count($parts) < self::MOST) {
            $from = $at + \strlen($mark);
            $at = \strpos($body, $mark, $from);
            if ($at === false || \substr($body, $from, 2) !== "\r\n") { // "--" ends it
                break;
            }
            $end = \strpos($body, "\r\n\r\n", $from);
            if ($end !== false && $end + 4 <= $at) {
                $parts[] = [\substr($body, $from + 2, $end - $from - 2) . "\n", \substr($body, $end + 4, $at - $end - 4)];
            }
        }
        return $parts;
    }

    private static function parameter(string $name, string $line): ?string
    {
        if (!\preg_match('/(?:^|[;\s])' . $name . '=(?:"((?:[^"\\\\]|\\\\.)*)"|([^;\s]*))/i', $line, $m)) {
            return null;
        }
        return isset($m[2]) ? $m[2] : \str_replace(['\\"', '%22'], '"', $m[1]);
    }

    private static function keep(array $one, string $head, string $data, string $folder): array
    {
        $one['type'] = \preg_match('/^Content-Type:[ \t]*([^\r\n]*)/im', $head, $m) ? $m[1] : '';
        $path = @\tempnam($folder !== '' ? $folder : \sys_get_temp_dir(), 'php');
        if ($path === false || @\file_put_contents($path, $data) !== \strlen($data)) {
            $one['error'] = \UPLOAD_ERR_CANT_WRITE;
            return $one;
        }
        self::$here[$path] = true;
        return \array_merge($one, ['tmp_name' => $path, 'error' => \UPLOAD_ERR_OK, 'size' => \strlen($data)]);
    }

    /** Names with brackets are arrays. */
    private static function tree(array $list): ?array
    {
        $query = '';
        foreach ($list as $i => [$name]) {
            $query .= \rawurlencode($name) . "=$i&";
        }
        \parse_str($query, $tree);
        \array_walk_recursive($tree, static function (&$value) use ($list) {
            $value = $list[(int)$value][1];
        });
        return $tree ?: null;
    }

    static function has(string $path): bool
    {
        return isset(self::$here[$path]);
    }

    static function move(string $from, string $to): bool
    {
        if (!self::has($from) || !@\rename($from, $to)) {
            return false;
        }
        @\chmod($to, 0666 & ~\umask());
        unset(self::$here[$from]);
        return true;
    }

    /** Who has sent them has been answered: files that were not moved go. */
    static function drop(array $paths): void
    {
        foreach ($paths as $path) {
            if (self::has($path)) {
                @\unlink($path);
                unset(self::$here[$path]);
            }
        }
    }
}

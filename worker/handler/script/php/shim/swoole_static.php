<?php
namespace Pushd;

/**
 * StaticFiles answers requests with files below document_root, as Swoole does with
 * enable_static_handler: what is no file there goes to on("request").
 */
final class StaticFiles
{
    const MOST = 33554432; // bytes of a file; larger ones are for a web server

    /** Whether a request was for a file, and has got it. */
    static function answers(\Swoole\Http\Request $request, int $id, array $setting): bool
    {
        if (empty($setting['enable_static_handler']) || !\in_array($request->getMethod(), ['GET', 'HEAD'], true)) {
            return false;
        }
        $path = \rawurldecode($request->server['request_uri']);
        $file = self::file($path, (string)($setting['document_root'] ?? ''), (array)($setting['static_handler_locations'] ?? []), (array)($setting['http_index_files'] ?? []));
        if ($file === null) {
            return false;
        }
        $response = \Swoole\Http\Response::of($id);
        $changed = \gmdate('D, d M Y H:i:s', (int)\filemtime($file)) . ' GMT';
        $response->header('Last-Modified', $changed);
        if (($request->header['if-modified-since'] ?? '') === $changed) {
            $response->status(304);
            return $response->end();
        }
        $response->header('Content-Type', MimeTypes::of($file));
        return $response->end($request->getMethod() === 'HEAD' ? '' : (string)\file_get_contents($file));
    }

    /** The file that a path names, if it lies below the folder, whatever links and dots are in the path. */
    private static function file(string $path, string $root, array $below, array $indexes): ?string
    {
        $root = $root === '' ? false : \realpath($root);
        if ($root === false || \strpos($path, "\0") !== false || \preg_match('~(?:^|/)\.~', $path) || \preg_match('~\.php$~i', $path)) {
            return null; // nor names with a dot before them, nor the program
        }
        if ($below && !\array_filter($below, static function ($start) use ($path) { return \strncmp($path, $start, \strlen($start)) === 0; })) {
            return null;
        }
        $found = \realpath($root . $path);
        foreach ($found !== false && \is_dir($found) ? $indexes : [] as $name) {
            if (\is_file("$found/$name")) {
                $found = \realpath("$found/$name");
                break;
            }
        }
        if ($found === false || !\is_file($found) || \strncmp($found, "$root/", \strlen($root) + 1) !== 0 || !\is_readable($found)) {
            return null;
        }
        if (\filesize($found) > self::MOST) {
            Program::once('static', "$found has more than 32 MiB: it is not sent, a web server does it better");
            return null;
        }
        return $found;
    }
}

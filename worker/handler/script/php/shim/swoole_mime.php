<?php
namespace {
    if (!\function_exists('swoole_mime_type_add')) {
        /** false: there is one. */
        function swoole_mime_type_add($suffix, $type)
        {
            return !isset(\Pushd\MimeTypes::$all[$suffix]) && (\Pushd\MimeTypes::$all[$suffix] = (string)$type) !== '';
        }

        function swoole_mime_type_set($suffix, $type)
        {
            \Pushd\MimeTypes::$all[$suffix] = (string)$type;
        }

        function swoole_mime_type_delete($suffix)
        {
            $was = isset(\Pushd\MimeTypes::$all[$suffix]);
            unset(\Pushd\MimeTypes::$all[$suffix]);
            return $was;
        }

        function swoole_mime_type_get($file)
        {
            return \Pushd\MimeTypes::of((string)$file);
        }

        function swoole_mime_type_exists($file)
        {
            return isset(\Pushd\MimeTypes::$all[\Pushd\MimeTypes::suffix((string)$file)]);
        }

        function swoole_mime_type_list()
        {
            return \array_values(\Pushd\MimeTypes::$all);
        }
    }
}

namespace Pushd {

    /** MimeTypes say by a file's name what it is, for what Swoole sends of files. */
    final class MimeTypes
    {
        public static $all = ['html' => 'text/html', 'htm' => 'text/html', 'css' => 'text/css', 'js' => 'text/javascript', 'mjs' => 'text/javascript', 'json' => 'application/json',
            'map' => 'application/json', 'txt' => 'text/plain', 'md' => 'text/markdown', 'csv' => 'text/csv', 'xml' => 'application/xml', 'svg' => 'image/svg+xml',
            'png' => 'image/png', 'jpg' => 'image/jpeg', 'jpeg' => 'image/jpeg', 'gif' => 'image/gif', 'webp' => 'image/webp', 'ico' => 'image/x-icon', 'avif' => 'image/avif',
            'woff' => 'font/woff', 'woff2' => 'font/woff2', 'ttf' => 'font/ttf', 'mp3' => 'audio/mpeg', 'ogg' => 'audio/ogg', 'wav' => 'audio/wav', 'mp4' => 'video/mp4',
            'webm' => 'video/webm', 'pdf' => 'application/pdf', 'wasm' => 'application/wasm', 'zip' => 'application/zip'];

        static function of(string $file): string
        {
            return self::$all[self::suffix($file)] ?? 'application/octet-stream';
        }

        static function suffix(string $file): string
        {
            return \strtolower(\pathinfo($file, \PATHINFO_EXTENSION));
        }
    }
}

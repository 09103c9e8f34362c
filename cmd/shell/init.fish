{{$fn := index .Names 0 -}}
# {{$fn}} for fish: completion{{if .Builtin}}, and `pushd VERB` at the prompt{{end}}
{{- if .Builtin}}
{{- if .ByPath}}
function pushctl; {{.Run}} $argv; end
{{- end}}
functions -q __pushd_of_fish; or functions -c pushd __pushd_of_fish
function pushd
  if contains -- "$argv[1]" {{.Verbs " "}} help; and not test -d "$argv[1]"
    {{.Run}} $argv
  else
    __pushd_of_fish $argv
  end
end
{{- end}}
{{- range .Commands}}
{{- $verb := .}}
{{- range $.Targets}}
complete -c {{.}} -n __fish_use_subcommand -a {{$verb.Name}} -d "{{$verb.Usage}}"
complete -c {{.}} -n "__fish_seen_subcommand_from {{$verb.Name}}" -a "{{$verb.Flags}}"
{{- end}}
{{- end}}

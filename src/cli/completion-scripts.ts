/** Shells that completion is made for. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/**
 * The script that a shell reads. It holds no words of its own: on each request it asks `modhost complete`, which knows the
 * program's tree and asks the running host for names; so it is never out of date.
 */
export function completionScript(shell: Shell): string {
  return SCRIPTS[shell];
}

const SCRIPTS: Readonly<Record<Shell, string>> = {
  bash: `# modhost: completion for bash. In ~/.bashrc: source <(modhost completion bash)
_modhost() {
  local out word
  COMPREPLY=()
  out=$("\${COMP_WORDS[0]}" complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null) || return 0
  if [ "$out" = ':files' ]; then
    compopt -o default 2>/dev/null
    return 0
  fi
  while IFS=$'\\t' read -r word _; do
    if [ -n "$word" ]; then COMPREPLY+=("$word"); fi
  done <<<"$out"
}
complete -F _modhost modhost
`,
  zsh: `#compdef modhost
# modhost: completion for zsh. In ~/.zshrc, after compinit: source <(modhost completion zsh)
_modhost() {
  local out word about
  local -a candidates
  out=$("\${words[1]}" complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null) || return 1
  if [[ $out == ':files' ]]; then
    _files
    return
  fi
  while IFS=$'\\t' read -r word about; do
    if [[ -n $word ]]; then candidates+=("\${word//:/\\\\:}:$about"); fi
  done <<<"$out"
  _describe 'modhost' candidates
}
if [[ \${funcstack[1]-} == _modhost ]]; then
  _modhost "$@"
else
  compdef _modhost modhost
fi
`,
  fish: `# modhost: completion for fish. Once: modhost completion fish > ~/.config/fish/completions/modhost.fish
function __modhost_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -l out ($before[1] complete -- $before[2..-1] "$current" 2>/dev/null)
    if test "$out[1]" = ':files'
        __fish_complete_path "$current"
        return
    end
    printf '%s\\n' $out
end
complete -c modhost -f -a '(__modhost_complete)'
`,
};

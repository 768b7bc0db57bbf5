<#
.SYNOPSIS
Runs one script with the parameters that come on standard input.
.DESCRIPTION
Input: one document, as Base64 of JSON: library, script (texts), parameters (data).
Output: one line with Base64 of JSON between markers: result, or error (kind, message).
#>
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
Set-StrictMode -Version 2.0
# Otherwise some arrays become objects with a count in JSON.
Remove-TypeData -TypeName System.Array -ErrorAction SilentlyContinue
$text = New-Object System.Text.UTF8Encoding($false)
$document = $null
try {
    $document = ConvertFrom-Json -InputObject ($text.GetString([Convert]::FromBase64String([string]::Concat(@($input)))))
    . ([scriptblock]::Create($document.library))
    $answer = @{ result = (& ([scriptblock]::Create($document.script)) $document.parameters) }
} catch {
    $kind = 'failed'
    $cause = $_.Exception
    for ($one = $cause; $null -ne $one; $one = $one.InnerException) {
        $cause = $one
        if ($one.Data.Contains('certlife')) { $kind = $one.Data['certlife']; break }
        if ($one -is [UnauthorizedAccessException] -or $one.HResult -eq -2147024891) { $kind = 'denied'; break }
    }
    # What cannot be read may be a secret, so it is not quoted.
    $message = 'standard input holds no document'
    if ($null -ne $document) { $message = $cause.Message }
    $answer = @{ error = @{ kind = $kind; message = $message } }
}
$bytes = $text.GetBytes((ConvertTo-Json -InputObject $answer -Depth 8 -Compress))
[Console]::Out.WriteLine('-----BEGIN CERTLIFE-----' + [Convert]::ToBase64String($bytes) + '-----END CERTLIFE-----')

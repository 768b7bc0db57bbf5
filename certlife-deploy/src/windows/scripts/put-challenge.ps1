<#
.SYNOPSIS
Places a challenge file in the directory that an IIS site shows as its root.
.DESCRIPTION
Each directory that has to be made has a mark, and a web.config that lets IIS show files without an extension as
plain text and run nothing. Files and directories of others are never changed, and links never followed.
Input:
  site       the name of an IIS site
  segments   the path in segments; the last one is the file
  body       the content
Output: nothing
Errors: not-found, denied, conflict, in-use, failed
#>
param($Request)

Invoke-Alone {
    $configuration = @'
<?xml version="1.0" encoding="utf-8"?>
<!-- Made by certlife, and removed with the last challenge file. -->
<configuration>
  <system.webServer>
    <handlers>
      <clear />
      <add name="certlife" path="*" verb="GET,HEAD" modules="StaticFileModule" resourceType="File" requireAccess="Read" />
    </handlers>
    <staticContent>
      <remove fileExtension="." />
      <mimeMap fileExtension="." mimeType="text/plain" />
    </staticContent>
  </system.webServer>
</configuration>
'@
    $iis = Get-Iis
    $root = Get-SiteRoot (Find-Site $iis $Request.site)
    if (-not [IO.Directory]::Exists($root)) { Stop-Work 'not-found' ('the directory {0}' -f $root) }
    $directory = $root
    $marked = $false
    foreach ($directory in @(Get-ChallengeDirectories $root $Request.segments)) {
        if (-not (Test-RealDirectory $directory)) {
            # It appears with all that belongs to it, so that a crash leaves none that is not known as ours.
            $made = [IO.Path]::Combine([IO.Path]::GetDirectoryName($directory), '.certlife-made')
            Remove-OwnDirectory $made
            [void] [IO.Directory]::CreateDirectory($made)
            [IO.File]::WriteAllBytes([IO.Path]::Combine($made, '.certlife'), [byte[]] @())
            Write-File ([IO.Path]::Combine($made, 'web.config')) ([System.Text.Encoding]::UTF8.GetBytes($configuration))
            [IO.Directory]::Move($made, $directory)
        }
        $marked = [IO.File]::Exists([IO.Path]::Combine($directory, '.certlife'))
    }
    $name = $Request.segments[$Request.segments.Count - 1]
    if (-not $marked -and -not $name.Contains('.')) {
        $path = '/' + [string]::Join('/', @($Request.segments[0..($Request.segments.Count - 2)]))
        $types = $iis.GetWebConfiguration($Request.site, $path).GetSection('system.webServer/staticContent').GetCollection()
        $shown = @(foreach ($type in $types) { $type.GetAttributeValue('fileExtension') })
        if ($shown -notcontains '.' -and $shown -notcontains '.*') {
            Stop-Work 'conflict' ('IIS does not show files without an extension in {0}, which certlife did not make; remove it, or add a web.config with a mimeMap for "."' -f $directory)
        }
    }
    $path = [IO.Path]::Combine($directory, $name)
    $content = [System.Text.Encoding]::ASCII.GetBytes($Request.body)
    if ([IO.File]::Exists($path)) {
        $found = New-Object System.IO.FileInfo($path)
        $same = $found.Length -eq $content.Length -and [string]::Equals([IO.File]::ReadAllText($path), $Request.body, [StringComparison]::Ordinal)
        if (-not $same) { Stop-Work 'conflict' ('{0} exists with another content' -f $path) }
    } elseif ([IO.Directory]::Exists($path)) {
        Stop-Work 'conflict' ('{0} is a directory' -f $path)
    } else {
        $new = [IO.Path]::Combine($directory, '.certlife-new')
        [IO.File]::WriteAllBytes($new, $content)
        [IO.File]::Move($new, $path)
    }
    @{}
}

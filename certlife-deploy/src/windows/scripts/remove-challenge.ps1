<#
.SYNOPSIS
Removes a challenge file that has the content that was placed, and the marked directories that it leaves empty.
.DESCRIPTION
Input:
  site       the name of an IIS site
  segments   the path in segments; the last one is the file
  body       the content
Output: nothing
Errors: not-found, denied, conflict, in-use, failed
#>
param($Request)

Invoke-Alone {
    $root = Get-SiteRoot (Find-Site (Get-Iis) $Request.site)
    $directories = @(Get-ChallengeDirectories $root $Request.segments)
    $existing = 0
    while ($existing -lt $directories.Count -and (Test-RealDirectory $directories[$existing])) { $existing++ }
    if ($existing -eq $directories.Count) {
        $directory = $directories[$existing - 1]
        $path = [IO.Path]::Combine($directory, $Request.segments[$Request.segments.Count - 1])
        $file = New-Object System.IO.FileInfo($path)
        if ($file.Exists -and $file.Length -eq $Request.body.Length) {
            $same = [string]::Equals([IO.File]::ReadAllText($path), $Request.body, [StringComparison]::Ordinal)
            if ($same) { $file.Delete() }
        }
        [IO.File]::Delete([IO.Path]::Combine($directory, '.certlife-new'))
    }
    # Of the first directory that does not exist there may be what a process that died had made of it, or left of it.
    for ($at = [Math]::Min($existing, $directories.Count - 1); $at -ge 0; $at--) {
        $directory = $directories[$at]
        $made = [IO.Path]::Combine([IO.Path]::GetDirectoryName($directory), '.certlife-made')
        Remove-OwnDirectory $made
        if ($at -eq $existing) { continue }
        if (-not [IO.File]::Exists([IO.Path]::Combine($directory, '.certlife'))) { break }
        $ours = @('.certlife', '.certlife-made', '.certlife-new', 'web.config')
        $entries = @(foreach ($entry in [IO.Directory]::GetFileSystemEntries($directory)) { [IO.Path]::GetFileName($entry) })
        if (@($entries | Where-Object { $ours -notcontains $_ }).Count -gt 0) { break }
        # It disappears with all that belongs to it, so that a crash leaves none that is not known as ours.
        [IO.Directory]::Move($directory, $made)
        Remove-OwnDirectory $made
    }
    @{}
}

<#
.SYNOPSIS
Tells whether this machine can do what the settings want, and changes nothing that stays.
.DESCRIPTION
Input:
  store      the name of a certificate store of the machine
  accounts   names of accounts that are to read keys
  sites      names of IIS sites
  central    the path of the central certificate store, or null
  roots      names of IIS sites that are to show challenge files
Output:
  computer, user, windows, powershell   texts
  iis        the version of IIS, or null if it is not installed
  warnings   texts
Errors: not-found, denied, conflict, failed
#>
param($Request)

Invoke-Alone {
    $identity = [System.Security.Principal.WindowsIdentity]::GetCurrent()
    $principal = New-Object System.Security.Principal.WindowsPrincipal($identity)
    if (-not $principal.IsInRole([System.Security.Principal.WindowsBuiltInRole]::Administrator)) {
        Stop-Work 'denied' ('{0} is no administrator here' -f $identity.Name)
    }
    $places = New-Object System.Collections.ArrayList
    [void] $places.Add((Get-OwnDirectory))

    $store = Open-Store $Request.store 'ReadWrite'
    $store.Close()
    foreach ($account in $Request.accounts) { [void] (Resolve-Account $account) }

    $iis = Get-Iis
    foreach ($name in $Request.sites) { [void] (Find-Site $iis $name) }
    foreach ($name in $Request.roots) { [void] $places.Add((Get-SiteRoot (Find-Site $iis $name))) }
    if ($null -ne $Request.central) { [void] $places.Add($Request.central) }
    foreach ($place in $places) {
        $test = [IO.Path]::Combine($place, '.certlife-probe-' + [Guid]::NewGuid().ToString('N'))
        # It disappears with the process that has it open, however that ends.
        (New-Object System.IO.FileStream($test, 'CreateNew', 'Write', 'None', 1, 'DeleteOnClose')).Dispose()
    }

    $warnings = New-Object System.Collections.ArrayList
    $central = 'HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\IIS\CentralCertProvider'
    if ($null -ne $Request.central -and [Microsoft.Win32.Registry]::GetValue($central, 'Enabled', 0) -ne 1) {
        [void] $warnings.Add('the central certificate store is not enabled in IIS')
    }
    $version = [Microsoft.Win32.Registry]::GetValue('HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\InetStp', 'VersionString', $null)
    if ($null -eq $iis) { $version = $null }
    @{
        computer = [Environment]::MachineName
        user = $identity.Name
        windows = [Environment]::OSVersion.VersionString
        powershell = $PSVersionTable.PSVersion.ToString()
        iis = $version
        warnings = @($warnings.ToArray())
    }
}

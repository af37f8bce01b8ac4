create view paper_ablations as
select
    paper_table,
    variant,
    num_steps,
    max(value) filter (where metric = 'Sync-C') as sync_c,
    max(value) filter (where metric = 'Sync-D') as sync_d,
    max(value) filter (where metric = 'FVD') as fvd,
    max(value) filter (where metric = 'SSIM') as ssim,
    max(source) as source
from published_results
where starts_with(paper_table, 'ablation_')
group by paper_table, variant, num_steps
order by paper_table, min(row_number);

comment on view paper_ablations is
    'The paper''s ablation tables as printed (1.3B student, HDTF_short). Grain: paper table, variant, number of steps.';
comment on column paper_ablations.paper_table is 'The paper''s table, such as main_hdtf or hallo3.';
comment on column paper_ablations.variant is 'Size and ablation settings as printed.';
comment on column paper_ablations.num_steps is 'Denoising steps per chunk; null where there are none or the table does not print them.';
comment on column paper_ablations.sync_c is 'SyncNet confidence (metric Sync-C); higher is better.';
comment on column paper_ablations.sync_d is 'SyncNet distance (metric Sync-D); lower is better.';
comment on column paper_ablations.fvd is 'Frechet distance of videos (metric FVD); lower is better.';
comment on column paper_ablations.ssim is 'Structural similarity (metric SSIM), at most 1; higher is better.';
comment on column paper_ablations.source is 'Paper and table.';

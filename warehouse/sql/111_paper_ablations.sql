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
